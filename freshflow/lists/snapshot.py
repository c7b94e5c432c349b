"""A partition as versioned bytes, and back: what recovery stores at the end of an epoch.

The format is a version line and a pickle of plain values, numpy arrays and River models. It carries the settings it
was made under; a snapshot under others is refused, never resumed from wrongly.
"""

import pickle
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np

from freshflow.config import Config
from freshflow.errors import SnapshotError
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.items.fold import Tables
from freshflow.items.returns import Returns
from freshflow.items.rows import ItemRows
from freshflow.lists.partition import Partition
from freshflow.lists.signals import Signals
from freshflow.ranking.features import FEATURES

__all__ = ["dump", "load"]

VERSION = b"freshflow-partition-6\n"


def dump(partition: Partition) -> bytes:
    """The partition as bytes; it goes on unchanged."""
    knowledge, ranker = partition.knowledge, partition.ranker
    state = {
        "settings": _settings(partition.config),
        "rows": knowledge.rows.state(),
        "tables": _arrays(knowledge.tables, len(knowledge.rows.ids)),
        "catalogue": knowledge.catalogue.entries,
        "evicted": (knowledge.evicted, knowledge.idle),
        "ranker": ranker.state(),
        "number": partition.number,
        "signals": vars(partition.signals),
        "refresh": partition.refresh.state(),
        "validation": partition.validation,
        "drift": partition.drift,
        "counts": partition.counts,
        "event_ts": partition.event_ts,
        "reported": partition.reported,
    }
    file = BytesIO(VERSION)  # written behind it: to put it in front would copy everything once more
    file.seek(len(VERSION))
    pickle.dump(state, file, protocol=5)
    return file.getvalue()


def load(snapshot: bytes, config: Config, clock: Callable[[], int]) -> Partition:
    """The partition whose `dump` this is. Raises `SnapshotError` for another version's or other settings'."""
    if not snapshot.startswith(VERSION):
        raise SnapshotError(
            "The recovery folder holds a partition of another version of FreshFlow; resume with that version, "
            "or start anew with an empty --recovery folder."
        )
    state = pickle.loads(memoryview(snapshot)[len(VERSION) :])
    _check(state["settings"], _settings(config))
    partition = Partition(state["number"], config, clock)
    knowledge, ranker = partition.knowledge, partition.ranker
    knowledge.rows = ItemRows.from_state(config.items.max, *state["rows"])
    knowledge.tables = _tables(knowledge.tables, state["tables"])
    knowledge.catalogue.available, knowledge.catalogue.entries = knowledge.tables.available, state["catalogue"]
    knowledge.evicted, knowledge.idle = state["evicted"]
    ranker.restore(state["ranker"])
    partition.signals = Signals(**state["signals"])
    partition.refresh.restore(state["refresh"])
    partition.validation, partition.drift = state["validation"], state["drift"]
    partition.counts = state["counts"]
    partition.event_ts, partition.reported = state["event_ts"], state["reported"]
    return partition


def _settings(config: Config) -> dict[str, Any]:
    """The settings that shape the state; another value needs another state."""
    pseudonyms = Pseudonyms.of_config(config.privacy)
    return {
        "job.partitions": config.job.partitions,
        "items.neighbours": config.items.neighbours,
        "items.max": config.items.max,
        "ranker.model": config.ranker.model,
        "ranker.units": config.ranker.units,
        "refresh.users": config.refresh.users,
        "privacy.pseudonymise": config.privacy.pseudonymise,
        "privacy.key (its fingerprint)": pseudonyms.fingerprint if pseudonyms is not None else None,
        "features of the ranker": FEATURES,
    }


def _check(stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if stored.get(name) != value:
            raise SnapshotError(
                f"The recovery folder was written with {name} = {stored.get(name)!r}, and this job has {value!r}; "
                "go back to the old value, or start anew with an empty --recovery folder."
            )


def _arrays(tables: Tables, rows: int) -> dict[str, Any]:
    """The arrays of all tables by name, as plain tuples; of those that have a row an item, the `rows` in use."""
    used = tables._replace(
        covisits=tables.covisits.first(rows),
        returns=Returns(tables.returns.counts[:rows]),
        popularity=tables.popularity._replace(memories=tables.popularity.memories[:rows]),
        openings=tables.openings._replace(memories=tables.openings.memories[:rows]),
        available=tables.available[:rows],
    )
    return {name: tuple(part) if isinstance(part, tuple) else part for name, part in used._asdict().items()}


def _tables(empty: Tables, arrays: dict[str, Any]) -> Tables:
    """The tables whose `_arrays` these are; `empty` says their types.

    Where another number of leaders is wanted now, they are found anew with the next visits.
    """
    parts: dict[str, Any] = {
        name: type(part)(*arrays[name]) if isinstance(part, tuple) else arrays[name]
        for name, part in empty._asdict().items()
    }
    tables = Tables(**parts)
    same = np.array_equal(tables.leading.wanted, empty.leading.wanted)
    return tables if same else tables._replace(leading=empty.leading)
