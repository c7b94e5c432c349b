"""Snapshots of partitions as versioned bytes, for recovery.

A version line is followed by the lengths and CRC-32 sums of the parts, then by the parts: a pickle of plain values and
River models, and the numpy arrays it refers to. Checksums are verified before anything is unpickled, and unpickling
executes no code (`freshflow._safe_pickle`). A snapshot contains the settings that shape it; other settings refuse it.
"""

import pickle
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

from freshflow._safe_pickle import ByteBuffer, load_restricted
from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.engine.remote_events import RemoteEventBuffer
from freshflow.errors import SnapshotError
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.feature import TriggerEvent
from freshflow.items.catalogue import ItemCatalogue
from freshflow.items.index import ItemIndex
from freshflow.items.revisits import Revisits
from freshflow.items.tables import ItemTables
from freshflow.metrics.ab_test import UserGroups
from freshflow.ranking.feature_registry import registered_features
from freshflow.ranking.features import FEATURES
from freshflow.ranking.features_content import CONTENT_FEATURES
from freshflow.users.profile import UserProfile

PARTITION_SNAPSHOT_VERSION = b"freshflow-partition-14\n"
ALIGNMENT_BYTES = 64  # offset multiple of parts: compiled code expects arrays aligned as by numpy
LENGTH_DTYPE = np.dtype("<u8")
USERS_PER_CHUNK = 1000  # users encoded in one call; a call blocks all other threads


def dump(partition: Partition) -> bytes:
    """Return the partition as bytes, without changing it."""
    return b"".join(_encode_pieces(_collect_state(partition)))


def freeze(partition: Partition) -> Callable[[], Iterator[ByteBuffer]]:
    """Return a function that yields the pieces of a `dump` of the partition as of now, also in another thread."""
    state = _copy_state(_collect_state(partition))
    return lambda: _encode_pieces(state)


def load(
    snapshot: bytes | bytearray, config: Config, clock: Callable[[], int], *, publishes_related: bool | None = None
) -> Partition:
    """Return the partition of a `dump`.

    Args:
        snapshot: The bytes of the dump.
        config: The configuration.
        clock: The processing time in epoch milliseconds.
        publishes_related: True if related items have a sink; by default, as in the dumped partition.

    Raises:
        SnapshotError: If the dump is of another version, made under other settings, or damaged.
    """
    if not snapshot.startswith(PARTITION_SNAPSHOT_VERSION):
        raise SnapshotError(
            "The recovery folder holds a partition of another version of FreshFlow; resume with that version, "
            "or start anew with an empty --recovery folder."
        )
    try:
        return _decode_partition(snapshot, config, clock, publishes_related)
    except SnapshotError:
        raise
    except Exception as error:  # a tampered pickle can raise any exception
        raise SnapshotError(
            f"The recovery folder holds a damaged partition ({type(error).__name__}: {error}); restore it, or give an "
            "empty one."
        ) from error


def _decode_partition(
    snapshot: bytes | bytearray, config: Config, clock: Callable[[], int], publishes_related: bool | None
) -> Partition:
    package = config.ranker.model.partition(":")[0].partition(".")[0]
    pickled_state, *arrays = _decode_parts(snapshot)
    state = load_restricted(bytes(pickled_state), arrays)
    check_settings(state["settings"], state_settings(config))
    models = load_restricted(state["models"], [], package)
    if publishes_related is None:
        publishes_related = state["publishes_related"]
    partition = Partition(state["number"], config, clock, publishes_related=publishes_related)
    item_statistics, ranker = partition.item_statistics, partition.ranker
    item_statistics.index = ItemIndex.from_state(config.items.max, *state["rows"])
    item_statistics.tables = _tables_from_arrays(item_statistics.tables, state["tables"])
    item_statistics.embedding_store.restore(
        state["contents"], item_statistics.tables.embeddings, item_statistics.index.ids
    )
    item_statistics.tables = item_statistics.tables._replace(embeddings=item_statistics.embedding_store.arrays)
    item_statistics.catalogue = ItemCatalogue.from_columns(item_statistics.tables.available, *state["catalogue"])
    item_statistics.n_evicted, item_statistics.n_idle_evicted = state["evicted"]
    ranker_state, partition.metrics.prequential, partition.metrics.drift_detector = models
    ranker.restore(ranker_state)
    partition.remote_events = RemoteEventBuffer(**state["signals"])
    active_users_state = state["active_users"]
    active_users_state["users"] = [
        user for chunk in active_users_state["users"] for user in msgspec.msgpack.decode(chunk, type=list[UserProfile])
    ]
    partition.active_users.restore(active_users_state)
    for feature in partition.features:
        feature.restore(state["features"].get(feature.name))
    partition.metrics.user_groups = UserGroups(state["by_user"])
    partition.metrics.counts.update(state["counts"])
    partition.event_ts = state["event_ts"]
    partition.latest_event = None if state["latest"] is None else TriggerEvent(*state["latest"])
    partition.metrics.n_reported_events = state["reported"]
    return partition


def _collect_state(partition: Partition) -> dict[str, Any]:
    item_statistics, ranker = partition.item_statistics, partition.ranker
    return {
        "settings": state_settings(partition.config),
        "rows": item_statistics.index.state(),
        "tables": _tables_to_arrays(item_statistics.tables, len(item_statistics.index.ids)),
        "catalogue": (
            item_statistics.catalogue.entries,
            item_statistics.catalogue.first_entry_ms[: len(item_statistics.index.ids)],
        ),
        "contents": item_statistics.embedding_store.state(),
        "evicted": (item_statistics.n_evicted, item_statistics.n_idle_evicted),
        # Small, and it changes in place.
        "models": pickle.dumps(
            (ranker.state(), partition.metrics.prequential, partition.metrics.drift_detector), protocol=5
        ),
        "number": partition.number,
        "publishes_related": partition.publishes_related,
        "features": {feature.name: feature.state() for feature in partition.features},
        "signals": vars(partition.remote_events),
        "active_users": partition.active_users.state(),
        "by_user": partition.metrics.user_groups.table,
        "counts": dict(partition.metrics.counts),
        "event_ts": partition.event_ts,
        "latest": None if partition.latest_event is None else tuple(partition.latest_event),
        "reported": partition.metrics.n_reported_events,
    }


def _copy_state(value: Any) -> Any:
    """Copy arrays and collections, down to immutable values."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        mutable_types = (np.ndarray, dict, list, tuple)
        return {
            name: _copy_state(element) if isinstance(element, mutable_types) else element
            for name, element in value.items()
        }
    if type(value) is tuple:
        return tuple(map(_copy_state, value))
    return value.copy() if isinstance(value, list) else value


def _encode_pieces(state: dict[str, Any]) -> Iterator[ByteBuffer]:
    active_users_state = state["active_users"]
    users = active_users_state["users"]
    encoded_users = [
        msgspec.msgpack.encode(users[start : start + USERS_PER_CHUNK])
        for start in range(0, len(users), USERS_PER_CHUNK)
    ]
    state = state | {"active_users": active_users_state | {"users": encoded_users}}
    buffers: list[pickle.PickleBuffer] = []
    pickled_state = pickle.dumps(state, protocol=5, buffer_callback=buffers.append)
    parts: list[ByteBuffer] = [pickled_state, *(buffer.raw() for buffer in buffers)]
    for part in (PARTITION_SNAPSHOT_VERSION, _encode_table(parts), *parts):
        yield part
        yield bytes(-len(part) % ALIGNMENT_BYTES)


def _encode_table(parts: list[ByteBuffer]) -> bytes:
    """Encode the number of parts, the length and checksum of each, and the checksum of this table."""
    numbers = [len(parts), *(number for part in parts for number in (len(part), crc32(part)))]
    table = np.array(numbers, LENGTH_DTYPE).tobytes()
    return table + np.array([crc32(table)], LENGTH_DTYPE).tobytes()


def _decode_parts(snapshot: bytes | bytearray) -> list[memoryview]:
    """Return the parts of a snapshot as writable views.

    Raises:
        ValueError: If a part is truncated or its checksum differs.
    """
    contents = np.frombuffer(bytearray(snapshot), np.uint8)
    (n_parts,) = contents[ALIGNMENT_BYTES : ALIGNMENT_BYTES + LENGTH_DTYPE.itemsize].view(LENGTH_DTYPE).tolist()
    table_bytes = (2 + 2 * n_parts) * LENGTH_DTYPE.itemsize
    offset = _next_offset(ALIGNMENT_BYTES, table_bytes)
    if offset > len(contents):
        raise ValueError(f"it is too short for {n_parts} parts")
    *table, table_crc = contents[ALIGNMENT_BYTES : ALIGNMENT_BYTES + table_bytes].view(LENGTH_DTYPE).tolist()
    if crc32(contents.data[ALIGNMENT_BYTES : ALIGNMENT_BYTES + table_bytes - LENGTH_DTYPE.itemsize]) != table_crc:
        raise ValueError("the lengths of its parts are not those that were written")
    parts = []
    for length, crc in zip(table[1::2], table[2::2], strict=True):
        part = contents.data[offset : offset + length]
        if len(part) < length or crc32(part) != crc:
            raise ValueError(f"the {length} bytes from byte {offset} on are not those that were written")
        parts.append(part)
        offset = _next_offset(offset, length)
    return parts


def _next_offset(offset: int, length: int) -> int:
    """Return the offset of the next part."""
    return offset + length + -length % ALIGNMENT_BYTES


def state_settings(config: Config) -> dict[str, Any]:
    """Return the settings that shape the state; a snapshot fits these values only."""
    pseudonyms = Pseudonyms.from_config(config.privacy)
    return {
        "job.partitions": config.job.partitions,
        "items.neighbours": config.items.neighbours,
        "items.max": config.items.max,
        "ranker.model": config.ranker.model,
        "ranker.hidden_units": config.ranker.hidden_units,
        "refresh.users": config.refresh.users,
        "variant.name": config.variant.name,
        "privacy.pseudonymise": config.privacy.pseudonymise,
        "privacy.key (its fingerprint)": pseudonyms.fingerprint if pseudonyms is not None else None,
        "content.dimensions": config.content.dimensions,
        "content (whether it is on)": config.content.is_enabled,
        "features of the ranker": [
            *FEATURES,
            *(CONTENT_FEATURES if config.content.is_enabled else ()),
            *registered_features(),
        ],
    }


def check_settings(stored_settings: dict[str, Any], current_settings: dict[str, Any]) -> None:
    """Raise `SnapshotError` if the stored settings differ from the current ones."""
    for name, value in current_settings.items():
        if stored_settings.get(name) != value:
            raise SnapshotError(
                f"The recovery folder was written with {name} = {stored_settings.get(name)!r}, "
                f"and this job has {value!r}; "
                "go back to the old value, or start anew with an empty --recovery folder."
            )


def _tables_to_arrays(tables: ItemTables, n_rows: int) -> dict[str, Any]:
    """Return the arrays of all tables by name, as plain tuples, cut to the `n_rows` item rows in use."""
    used_tables = tables._replace(
        covisits=tables.covisits.head(n_rows),
        revisits=Revisits(tables.revisits.counts[:n_rows]),
        popularity=tables.popularity._replace(counters=tables.popularity.counters[:n_rows]),
        session_start_popularity=tables.session_start_popularity._replace(
            counters=tables.session_start_popularity.counters[:n_rows]
        ),
        available=tables.available[:n_rows],
        embeddings=tables.embeddings.head(n_rows),
    )
    return {name: tuple(part) if isinstance(part, tuple) else part for name, part in used_tables._asdict().items()}


def _tables_from_arrays(template: ItemTables, arrays: dict[str, Any]) -> ItemTables:
    """Rebuild tables from `_tables_to_arrays`, with the types of `template`.

    If the limits of popular items have changed, the next visits find them again.
    """
    parts: dict[str, Any] = {
        name: type(part)(*arrays[name]) if isinstance(part, tuple) else arrays[name]
        for name, part in template._asdict().items()
    }
    tables = ItemTables(**parts)
    is_unchanged = np.array_equal(tables.top_items.limits, template.top_items.limits)
    return tables if is_unchanged else tables._replace(top_items=template.top_items)
