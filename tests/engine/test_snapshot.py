"""Snapshots of a partition: what resumes goes on as if nothing had happened, or is refused with a reason."""

from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freshflow._state_tables import ALIGNMENT_BYTES, LENGTH_DTYPE
from freshflow.config.schema import Config, RankerConfig, RankingConfig
from freshflow.engine.snapshot import PARTITION_SNAPSHOT, dump, freeze, load
from freshflow.errors import SnapshotError
from freshflow.events.model import Interaction, Origin
from freshflow.items.visit import ItemVisit
from freshflow.users.store import UserStore
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    START_MS,
    availability,
    batches,
    config,
    encoded,
    partition,
    read,
    stream,
    view,
)

SETTINGS = config(contributions=True)
FOREIGN = Origin("file", "other.jsonl")


def heard(event: Interaction) -> ItemVisit:
    """The event as another partition's signal, just below it."""
    return ItemVisit(event.position, f"other-{event.item_id}", (event.item_id,), event.ts_ms)


def run(seed: int, settings: Config, snapshots_after: tuple[int, ...] = (), size: int = 30):
    """Outputs and last state of a partition that hears signals, and is dumped and loaded after some batches."""
    made, bucket, published = partition(settings), UserStore(settings.users, 1000), []
    for n, events in enumerate(batches(stream(seed, 240), size)):
        made.buffer_remote_events(
            ORIGIN, [heard(event) for event in events[5:25] if isinstance(event, Interaction)][::-1]
        )
        published += made.process(ORIGIN, bucket.process(events[:20]))  # signals of the last five are still held
        made.flush_if_full(ORIGIN)
        if n in snapshots_after:
            made = load(dump(made), settings, lambda: COMPUTED_AT)
    return published, made


@pytest.mark.parametrize("model", ["adam", "sgd"])
@pytest.mark.parametrize("snapshots_after", [(0,), (3,), (0, 1, 2, 3, 4, 5, 6)], ids=str)
def test_a_partition_goes_on_byte_for_byte_as_if_uninterrupted(model, snapshots_after):
    settings = msgspec.structs.replace(SETTINGS, ranker=RankerConfig(f"freshflow.ranking.model_factories:{model}"))
    expected, uninterrupted = run(1, settings)
    published, resumed = run(1, settings, snapshots_after)
    assert encoded(published) == encoded(expected)
    assert resumed.report() == uninterrupted.report()


def test_a_table_that_has_evicted_goes_on_as_if_uninterrupted():
    items = msgspec.structs.replace(SETTINGS.items, max=30, neighbours=4)
    settings = msgspec.structs.replace(SETTINGS, items=items)
    expected, uninterrupted = run(2, settings)
    published, resumed = run(2, settings, (2, 4))
    assert encoded(published) == encoded(expected)
    assert resumed.report().counts == uninterrupted.report().counts
    assert uninterrupted.report().counts["items_evicted"] > 0


def test_dumping_leaves_the_partition_as_it_was():
    published, made = run(3, SETTINGS)
    again, other = run(3, SETTINGS)
    dump(made)
    events = UserStore(SETTINGS.users, 9).process([view(n, "u", f"i{n % 7:02d}") for n in range(300, 340)])
    assert encoded(made.process(ORIGIN, events)) == encoded(other.process(ORIGIN, events))
    assert encoded(published) == encoded(again)


def test_a_snapshot_does_not_change_with_its_partition():
    _, made = run(4, SETTINGS)
    snapshot = dump(made)
    _, expected = run(4, SETTINGS)
    made.process(FOREIGN, UserStore(SETTINGS.users, 9).process([view(n, "u", f"x{n}") for n in range(50)]))
    assert load(snapshot, SETTINGS, lambda: 0).report() == expected.report()


def test_frozen_snapshot_does_not_change_with_its_partition():
    _, made = run(4, SETTINGS)
    expected, encode_pieces = dump(made), freeze(made)
    made.process(FOREIGN, UserStore(SETTINGS.users, 9).process([view(n, "u", f"x{n}") for n in range(50)]))
    assert b"".join(encode_pieces()) == expected


def test_a_new_partition_comes_back_new():
    resumed = load(dump(partition(SETTINGS, number=3)), SETTINGS, lambda: 0)
    assert resumed.report() == partition(SETTINGS, number=3).report()


def test_signals_that_were_held_are_not_lost():
    made = partition(SETTINGS)
    made.buffer_remote_events(ORIGIN, [ItemVisit(9, "far", (), START_MS)])
    resumed = load(dump(made), SETTINGS, lambda: 0)
    assert resumed.report().counts["items"] == 0
    resumed.finish(ORIGIN)
    assert resumed.report().counts["items"] == 1


def test_what_the_catalogue_says_comes_back():
    made = partition(SETTINGS)
    made.process(ORIGIN, [availability(1, "a", False)])
    resumed = load(dump(made), SETTINGS, lambda: 0)
    bucket = UserStore(SETTINGS.users, 9)
    published = read(resumed.process(ORIGIN, bucket.process([view(2, "u", "b"), view(3, "u", "a"), view(4, "v", "b")])))
    assert published
    assert "a" not in {item.item_id for one in published for item in one.items}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("job", "partitions", 2),
        ("items", "neighbours", 32),
        ("items", "max", 2000),
        ("ranker", "model", "freshflow.ranking.model_factories:sgd"),
        ("ranker", "hidden_units", 0),
    ],
)
def test_other_settings_are_refused_by_name_and_value(section, key, value):
    changed = msgspec.structs.replace(getattr(SETTINGS, section), **{key: value})
    with pytest.raises(SnapshotError) as refusal:
        load(dump(partition(SETTINGS)), msgspec.structs.replace(SETTINGS, **{section: changed}), lambda: 0)
    old = getattr(getattr(SETTINGS, section), key)
    assert f"{section}.{key} = {old!r}, and this job has {value!r}" in str(refusal.value)
    assert str(refusal.value).endswith(".")


def test_how_many_leaders_are_wanted_may_change():
    _, made = run(5, SETTINGS)
    ranking = RankingConfig(popular_recent=3, popular=0, opening_recent=200, opening=1)
    settings = msgspec.structs.replace(SETTINGS, ranking=ranking)
    resumed = load(dump(made), settings, lambda: COMPUTED_AT)
    bucket = UserStore(settings.users, 1000)
    assert resumed.process(FOREIGN, bucket.process([view(n, "u", f"x{n}") for n in range(100)]))
    leading = resumed.item_statistics.tables.top_items
    assert leading.limits.tolist() == [3, 0, 200, 1]
    assert (leading.sizes <= leading.limits).all()


def test_settings_that_shape_no_state_may_change():
    resumed = load(dump(partition(SETTINGS)), config(k=5), lambda: 0)
    assert resumed.config.lists.k == 5


@pytest.mark.parametrize("snapshot", [b"", b"freshflow-partition-0\n", b"freshflow-users-1\n\x80", b"\x80\x05."])
def test_a_foreign_snapshot_is_refused_with_what_to_do(snapshot):
    with pytest.raises(SnapshotError, match=r"another version.*start anew"):
        load(snapshot, SETTINGS, lambda: 0)


@cache  # and not when the file is imported, which every worker does before the first test
def dumped() -> bytes:
    return dump(run(6, SETTINGS)[1])


def places(first: int, less: int) -> st.SearchStrategy[int]:
    """Places in a dump, from `first` to `less` before its end."""
    return st.deferred(lambda: st.integers(first, len(dumped()) - less))


@settings(deadline=None, max_examples=200)
@given(
    places(len(PARTITION_SNAPSHOT.version_line), 1) | st.integers(ALIGNMENT_BYTES, 16 * ALIGNMENT_BYTES),
    st.integers(1, 255),
)
@example(ALIGNMENT_BYTES, 1)  # one part less
def test_changed_byte_is_refused(at, change):
    damaged = bytearray(dumped())
    damaged[at] ^= change
    with pytest.raises(SnapshotError, match=r"holds a damaged partition \(ValueError: "):
        load(damaged, SETTINGS, lambda: 0)


@settings(deadline=None, max_examples=50)
@given(places(len(PARTITION_SNAPSHOT.version_line), ALIGNMENT_BYTES))
def test_a_snapshot_that_was_cut_short_is_refused(length):
    with pytest.raises(SnapshotError, match=r"damaged partition .*; restore it, or give an empty one\.$"):
        load(dumped()[:length], SETTINGS, lambda: 0)


@pytest.mark.parametrize("number", [0, 1, 1 << 20, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_number_of_parts_or_a_length_that_is_not_there_takes_no_memory(number, place):
    damaged = bytearray(dumped())
    at = ALIGNMENT_BYTES + place * LENGTH_DTYPE.itemsize
    damaged[at : at + LENGTH_DTYPE.itemsize] = np.array([number], LENGTH_DTYPE).tobytes()
    with pytest.raises(SnapshotError, match="damaged partition"):
        load(damaged, SETTINGS, lambda: 0)
