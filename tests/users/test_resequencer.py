"""What several buckets of guests hand on comes out in the order of the stream, however it arrives."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from freshflow.events.model import Identify, Interaction, Origin
from freshflow.users.profile import NEW_USER
from freshflow.users.resequencer import PendingEvents, Resequencer
from freshflow.users.updates import MergeRequested

ORIGIN, OTHER = Origin("file", "a"), Origin("file", "b")


def view(position: int) -> Interaction:
    return Interaction(position, "view", "u", "i", 0)


def join(position: int) -> MergeRequested:
    return MergeRequested(Identify(position, "u", "guest:s", 0), NEW_USER)


def test_nothing_comes_out_before_all_have_been_heard_of():
    made = Resequencer()
    assert made.process(0, 2, ORIGIN, [view(1)], 5) is None
    assert made.process(1, 2, ORIGIN, [view(2)], 5) == ([view(1), view(2)], 5)


def test_what_one_is_ahead_with_waits_for_the_other():
    made = Resequencer()
    made.process(0, 2, ORIGIN, [view(1), view(8)], 9)
    assert made.process(1, 2, ORIGIN, [], 5) == ([view(1)], 5)
    assert made.process(0, 2, ORIGIN, [view(12)], 12) is None
    assert made.process(1, 2, ORIGIN, [view(10)], 12) == ([view(8), view(10), view(12)], 12)


def test_who_a_guest_is_comes_before_what_else_is_in_its_record():
    made = Resequencer()
    made.process(0, 2, ORIGIN, [view(3)], 5)
    assert made.process(1, 2, ORIGIN, [join(3)], 5) == ([join(3), view(3)], 5)


def test_origins_do_not_wait_for_each_other():
    made = Resequencer()
    made.process(0, 2, ORIGIN, [view(1)], 5)
    assert made.process(0, 2, OTHER, [], 5) is None
    assert made.process(1, 2, OTHER, [view(2)], 5) == ([view(2)], 5)


def test_one_sender_alone_waits_for_nobody():
    assert Resequencer().process(0, 1, ORIGIN, [view(1), join(2)], 2) == ([view(1), join(2)], 2)


@given(st.lists(st.integers(0, 2), max_size=30), st.lists(st.integers(1, 7), max_size=10), st.randoms())
def test_the_stream_comes_out_whole_in_order_and_restored_whatever_arrives_first(owners, sizes, random):
    ends = sorted({min(sum(sizes[: n + 1]), len(owners)) for n in range(len(sizes))} | {len(owners)})
    queues = [
        [
            ([n for n in range(start, end) if owners[n] == who], end - 1)
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]
        for who in range(3)
    ]
    made, out = Resequencer(), []
    while any(queues):
        who = random.choice([n for n, queue in enumerate(queues) if queue])
        positions, upto = queues[who].pop(0)
        found = made.process(who, 3, ORIGIN, [view(n) for n in positions], upto)
        if found is not None:
            out += [one.position for one in found[0]]
            assert all(position <= found[1] for position in out)
        made = Resequencer(msgspec.msgpack.decode(msgspec.msgpack.encode(made.state()), type=PendingEvents))
    assert out == list(range(len(owners)))
