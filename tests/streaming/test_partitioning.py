"""Keys: which partition a user belongs to, and that Bytewax routes partitions where we think."""

import threading
from collections import Counter

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, cluster_main
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.engine.routing import partition_of
from freshflow.streaming.partitioning import partition_key, worker_of

ODD_KEYS = ["", "a", "ü", "1234567", "12345678", "123456789", "x" * 40, "key with spaces", "🦊"]


def threads_of(keys: list[str], workers: int) -> dict[str, int]:
    """The thread that Bytewax handles each key on, in a cluster of one process."""
    flow, out = Dataflow("keys"), []
    keyed = op.input("in", flow, TestingSource([(key, None) for key in keys], batch_size=7))
    handled = op.stateful_map("thread", keyed, lambda state, value: (None, threading.get_ident()))
    op.output("out", handled, TestingSink(out))
    cluster_main(flow, [], 0, worker_count_per_proc=workers)
    return dict(out)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_bytewax_handles_keys_on_one_thread_exactly_if_they_have_one_worker(workers):
    keys = [*ODD_KEYS, *(partition_key(n) for n in range(64)), *(f"user-{n}" for n in range(200))]
    threads = threads_of(keys, workers)
    assert threads.keys() == set(keys)
    pairs = {(worker_of(key, workers), thread) for key, thread in threads.items()}
    assert len(pairs) == workers
    assert len({thread for _, thread in pairs}) == workers


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
@pytest.mark.parametrize("partitions", [8, 16, 256])
def test_partitions_spread_evenly_over_the_workers(partitions, workers):
    counts = Counter(worker_of(partition_key(n), workers) for n in range(partitions))
    assert counts == dict.fromkeys(range(workers), partitions // workers)


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_as_many_partitions_as_workers_have_one_each(workers):
    assert [worker_of(partition_key(n), workers) for n in range(workers)] == list(range(workers))


def test_the_names_of_partitions_are_a_contract_with_every_recovery_folder():
    names = ["000.29", "001.84", "002.175", "063.27", "064.87", "255.40"]
    assert [partition_key(n) for n in (0, 1, 2, 63, 64, 255)] == names


def test_the_names_of_partitions_differ():
    assert len({partition_key(n) for n in range(256)}) == 256


def test_a_user_s_partition_is_a_contract_with_every_recovery_folder():
    users = ["u1", "u2", "user-42", "Zoë", "", "12345"]
    assert [(partition_of(user, 4), partition_of(user, 7)) for user in users] == [
        (2, 5),
        (0, 1),
        (3, 1),
        (2, 4),
        (0, 0),
        (0, 1),
    ]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.text(max_size=30), st.integers(1, 256))
def test_every_user_has_a_partition(user, partitions):
    assert 0 <= partition_of(user, partitions) < partitions
    assert partition_of(user, partitions) == partition_of(user, partitions)
    assert partition_of(user, 1) == 0


def test_users_spread_over_the_partitions():
    counts = Counter(partition_of(f"user-{n}", 8) for n in range(8_000))
    assert set(counts) == set(range(8))
    assert max(counts.values()) < 1_200
