"""A partition as versioned bytes, and back: what recovery stores.

After a version line come the lengths and CRC-32 sums of the parts and the parts: a pickle of plain values and River
models, and the numpy arrays it refers to. Nothing is unpickled that is not as it was written, and no code is executed
then (`freshflow._safe_pickle`). It carries the settings it was made under; a snapshot under others is refused, never
resumed from wrongly.
"""

import pickle
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

from freshflow._safe_pickle import Piece, unpickled
from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.engine.remote_events import Signals
from freshflow.errors import SnapshotError
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.items.catalogue import Catalogue
from freshflow.items.index import ItemRows
from freshflow.items.revisits import Returns
from freshflow.items.tables import Tables
from freshflow.metrics.ab_test import UserGroups
from freshflow.ranking.features import FEATURES
from freshflow.ranking.features_content import CONTENT
from freshflow.related.publisher import Related
from freshflow.users.profile import UserState

__all__ = ["VERSION", "check_settings", "dump", "frozen", "load", "settings_of"]

VERSION = b"freshflow-partition-12\n"
ALIGNED = 64  # parts begin at multiples of so many bytes: compiled code is for arrays that numpy could have made
LENGTH = np.dtype("<u8")
AT_ONCE = 1000  # users encoded in one call, which lets no other thread run


def dump(partition: Partition) -> bytes:
    """The partition as bytes; it goes on unchanged."""
    return b"".join(_pieces(_state(partition)))


def frozen(partition: Partition) -> Callable[[], Iterator[Piece]]:
    """What makes the pieces of a `dump` of the partition as it is now, later and in another thread."""
    state = _copied(_state(partition))
    return lambda: _pieces(state)


def load(snapshot: bytes | bytearray, config: Config, clock: Callable[[], int]) -> Partition:
    """The partition whose `dump` this is. Raises `SnapshotError` for another version, other settings, or damage."""
    if not snapshot.startswith(VERSION):
        raise SnapshotError(
            "The recovery folder holds a partition of another version of FreshFlow; resume with that version, "
            "or start anew with an empty --recovery folder."
        )
    try:
        return _loaded(snapshot, config, clock)
    except SnapshotError:
        raise
    except Exception as error:  # there is no end to what a pickle that was tampered with can raise
        raise SnapshotError(
            f"The recovery folder holds a damaged partition ({type(error).__name__}: {error}); restore it, or give an "
            "empty one."
        ) from error


def _loaded(snapshot: bytes | bytearray, config: Config, clock: Callable[[], int]) -> Partition:
    package = config.ranker.model.partition(":")[0].partition(".")[0]
    pickled, *arrays = _parts(snapshot)
    state = unpickled(bytes(pickled), arrays)
    check_settings(state["settings"], settings_of(config))
    models = unpickled(state["models"], [], package)
    partition = Partition(state["number"], config, clock)
    knowledge, ranker = partition.knowledge, partition.ranker
    knowledge.rows = ItemRows.from_state(config.items.max, *state["rows"])
    knowledge.tables = _tables(knowledge.tables, state["tables"])
    knowledge.contents.restore(state["contents"], knowledge.tables.contents, knowledge.rows.ids)
    knowledge.tables = knowledge.tables._replace(contents=knowledge.contents.arrays)
    knowledge.catalogue = Catalogue.of(knowledge.tables.available, *state["catalogue"])
    knowledge.evicted, knowledge.idle = state["evicted"]
    ranker_state, partition.validation, partition.drift, of_searches = models
    partition.searches.restore(state["searches"], of_searches)
    ranker.restore(ranker_state)
    if partition.rules is not None:
        partition.rules.restore(state["rules"])
    partition.signals = Signals(**state["signals"])
    active = state["refresh"]["active"]
    active["users"] = [user for part in active["users"] for user in msgspec.msgpack.decode(part, type=list[UserState])]
    partition.refresh.restore(state["refresh"])
    if state["exploration"] is not None and partition.exploration is not None:
        partition.exploration.restore(state["exploration"])
    if state["by_user"] is not None:
        partition.by_user = UserGroups(state["by_user"])
    partition.counts.update(state["counts"])
    partition.event_ts, partition.latest = state["event_ts"], state["latest"]
    partition.reported = state["reported"]
    if state["related"] is not None:
        related = Related(config.related, partition.number, config.job.partitions)
        related.restore(state["related"])
        partition.related = related
    return partition


def _state(partition: Partition) -> dict[str, Any]:
    knowledge, ranker = partition.knowledge, partition.ranker
    return {
        "settings": settings_of(partition.config),
        "rows": knowledge.rows.state(),
        "tables": _arrays(knowledge.tables, len(knowledge.rows.ids)),
        "catalogue": (knowledge.catalogue.entries, knowledge.catalogue.first_ms[: len(knowledge.rows.ids)]),
        "contents": knowledge.contents.state(),
        "evicted": (knowledge.evicted, knowledge.idle),
        # Small, and it changes in place.
        "models": pickle.dumps(
            (ranker.state(), partition.validation, partition.drift, partition.searches.models()), protocol=5
        ),
        "searches": partition.searches.state(),
        "number": partition.number,
        "rules": {} if partition.rules is None else partition.rules.state(),
        "signals": vars(partition.signals),
        "refresh": partition.refresh.state(),
        "exploration": partition.exploration.state() if partition.exploration is not None else None,
        "by_user": partition.by_user.table if partition.by_user is not None else None,
        "counts": dict(partition.counts),
        "event_ts": partition.event_ts,
        "latest": partition.latest,
        "reported": partition.reported,
        "related": None if partition.related is None else partition.related.state(len(knowledge.rows.ids)),
    }


def _copied(value: Any) -> Any:
    """Arrays and collections as they are now, down to values that do not change."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        changing = (np.ndarray, dict, list, tuple)
        return {name: _copied(inner) if isinstance(inner, changing) else inner for name, inner in value.items()}
    if type(value) is tuple:
        return tuple(map(_copied, value))
    return value.copy() if isinstance(value, list) else value


def _pieces(state: dict[str, Any]) -> Iterator[Piece]:
    active = state["refresh"]["active"]
    users = active["users"]
    encoded = [msgspec.msgpack.encode(users[start : start + AT_ONCE]) for start in range(0, len(users), AT_ONCE)]
    state = state | {"refresh": state["refresh"] | {"active": active | {"users": encoded}}}
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(state, protocol=5, buffer_callback=buffers.append)
    parts: list[Piece] = [pickled, *(buffer.raw() for buffer in buffers)]
    for part in (VERSION, _table(parts), *parts):
        yield part
        yield bytes(-len(part) % ALIGNED)


def _table(parts: list[Piece]) -> bytes:
    """How many parts there are, the length and sum of each, and the sum of all this."""
    numbers = [len(parts), *(number for part in parts for number in (len(part), crc32(part)))]
    table = np.array(numbers, LENGTH).tobytes()
    return table + np.array([crc32(table)], LENGTH).tobytes()


def _parts(snapshot: bytes | bytearray) -> list[memoryview]:
    """The parts of a snapshot, to be written to. Raises `ValueError` where one is cut short or is not as it was."""
    whole = np.frombuffer(bytearray(snapshot), np.uint8)
    (count,) = whole[ALIGNED : ALIGNED + LENGTH.itemsize].view(LENGTH).tolist()
    table_bytes = (2 + 2 * count) * LENGTH.itemsize
    at = _next(ALIGNED, table_bytes)
    if at > len(whole):
        raise ValueError(f"it is too short for {count} parts")
    *table, table_crc = whole[ALIGNED : ALIGNED + table_bytes].view(LENGTH).tolist()
    if crc32(whole.data[ALIGNED : ALIGNED + table_bytes - LENGTH.itemsize]) != table_crc:
        raise ValueError("the lengths of its parts are not those that were written")
    parts = []
    for length, crc in zip(table[1::2], table[2::2], strict=True):
        part = whole.data[at : at + length]
        if len(part) < length or crc32(part) != crc:
            raise ValueError(f"the {length} bytes from byte {at} on are not those that were written")
        parts.append(part)
        at = _next(at, length)
    return parts


def _next(at: int, length: int) -> int:
    """Where the next part begins."""
    return at + length + -length % ALIGNED


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that shape the state; another value needs another state."""
    pseudonyms = Pseudonyms.of_config(config.privacy)
    return {
        "job.partitions": config.job.partitions,
        "items.neighbours": config.items.neighbours,
        "items.max": config.items.max,
        "ranker.model": config.ranker.model,
        "ranker.units": config.ranker.units,
        "refresh.users": config.refresh.users,
        "variant.name": config.variant.name,
        "privacy.pseudonymise": config.privacy.pseudonymise,
        "privacy.key (its fingerprint)": pseudonyms.fingerprint if pseudonyms is not None else None,
        "content.dimensions": config.content.dimensions,
        "content (whether it is on)": config.content.on,
        "features of the ranker": [*FEATURES, *(CONTENT if config.content.on else ())],
    }


def check_settings(stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise `SnapshotError` if what was stored was made under other settings than are wanted now."""
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
        contents=tables.contents.first(rows),
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
