"""What the fuzzer does by the million, a little of it: all seeds, and some mutations of them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .__main__ import TARGETS as NAMES
from .seeds import WORDS, seeds_of
from .targets import TARGETS

MOST_SEEDS = 3000
QUICK = sorted(TARGETS.keys() - {"streams"})
pieces = st.binary(max_size=9) | st.sampled_from([word.encode() for word in WORDS])


def test_the_fuzzer_knows_all_targets() -> None:
    assert set(NAMES) == TARGETS.keys()


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_seed_becomes_an_event_a_refusal_or_a_sentence(name: str) -> None:
    seeds = seeds_of(name)
    assert 0 < len(seeds) < MOST_SEEDS
    for seed in seeds:
        TARGETS[name](seed)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("name", QUICK)
@given(data=st.data())
def test_so_does_what_comes_of_seeds_that_are_cut_and_patched(name: str, data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(seeds_of(name)))
    for _ in range(data.draw(st.integers(1, 4))):
        at, left_out = data.draw(st.integers(0, min(len(content), 4096))), data.draw(st.integers(0, 9))
        content = content[:at] + data.draw(pieces) + content[at + left_out :]
    TARGETS[name](content)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(seeds_of("records")), max_size=60))
def test_a_job_takes_hostile_records_in_any_order_and_its_states_come_back(records: list[bytes]) -> None:
    TARGETS["streams"](b"\n".join(records))
