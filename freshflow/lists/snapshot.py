"""A partition as versioned bytes, and back: what recovery stores at the end of an epoch.

The format is a version line and a pickle of plain values, numpy arrays and River models. It carries the settings it
was made under; a snapshot under others is refused, never resumed from wrongly.
"""

import pickle
from collections.abc import Callable
from typing import Any, TypeVar

from freshflow.config import Config
from freshflow.errors import SnapshotError
from freshflow.items.catalogue import Catalogue
from freshflow.items.covisits import CoVisits
from freshflow.items.popularity import Popularity
from freshflow.items.returns import Returns
from freshflow.items.rows import ItemRows
from freshflow.lists.partition import Partition
from freshflow.lists.published import Published
from freshflow.lists.signals import Signals
from freshflow.ranking.features import FEATURES

__all__ = ["dump", "load"]

Part = TypeVar("Part")

VERSION = b"freshflow-partition-1\n"


def dump(partition: Partition) -> bytes:
    """The partition as bytes; it goes on unchanged."""
    knowledge, ranker = partition.knowledge, partition.ranker
    state = {
        "settings": _settings(partition.config),
        "rows": knowledge.rows.state(),
        "covisits": vars(knowledge.covisits),
        "popularity": vars(knowledge.popularity),
        "openings": vars(knowledge.openings),
        "returns": vars(knowledge.returns),
        "catalogue": vars(knowledge.catalogue),
        "evicted": knowledge.evicted,
        "models": ranker.models,
        "updates": ranker.updates,
        "number": partition.number,
        "signals": vars(partition.signals),
        "published": partition.published.digests,
        "validation": partition.validation,
        "counts": partition.counts,
        "event_ts": partition.event_ts,
        "reported": partition.reported,
    }
    return VERSION + pickle.dumps(state, protocol=5)


def load(snapshot: bytes, config: Config, clock: Callable[[], int]) -> Partition:
    """The partition whose `dump` this is. Raises `SnapshotError` for another version's or other settings'."""
    if not snapshot.startswith(VERSION):
        raise SnapshotError(
            "The recovery folder holds a partition of another version of FreshFlow; resume with that version, "
            "or start anew with an empty --recovery folder."
        )
    state = pickle.loads(snapshot[len(VERSION) :])
    _check(state["settings"], _settings(config))
    partition = Partition(state["number"], config, clock)
    knowledge, ranker = partition.knowledge, partition.ranker
    knowledge.rows = ItemRows.from_state(config.items.max, *state["rows"])
    knowledge.covisits = _filled(CoVisits(config.items.neighbours), state["covisits"])
    knowledge.popularity = _filled(Popularity(), state["popularity"])
    knowledge.openings = _filled(Popularity(), state["openings"])
    knowledge.returns = _filled(Returns(), state["returns"])
    knowledge.catalogue = _filled(Catalogue(), state["catalogue"])
    knowledge.evicted = state["evicted"]
    ranker.models, ranker.updates = state["models"], state["updates"]
    ranker.take_over()
    partition.signals = Signals(**state["signals"])
    partition.published = Published(partition.published.bound, state["published"])
    partition.validation, partition.counts = state["validation"], state["counts"]
    partition.event_ts, partition.reported = state["event_ts"], state["reported"]
    return partition


def _settings(config: Config) -> dict[str, Any]:
    """The settings that shape the state; another value needs another state."""
    return {
        "job.partitions": config.job.partitions,
        "items.neighbours": config.items.neighbours,
        "items.max": config.items.max,
        "ranker.model": config.ranker.model,
        "features of the ranker": FEATURES,
    }


def _check(stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if stored.get(name) != value:
            raise SnapshotError(
                f"The recovery folder was written with {name} = {stored.get(name)!r}, and this job has {value!r}; "
                "go back to the old value, or start anew with an empty --recovery folder."
            )


def _filled(part: Part, values: dict[str, Any]) -> Part:
    vars(part).update(values)
    return part
