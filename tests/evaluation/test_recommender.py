"""Quality under other settings of the job: neither batch sizes nor partitions are a matter of quality."""

import time

import pytest

from freshflow.config.schema import Config, JobConfig, RankerConfig, RefreshConfig
from freshflow.evaluation.event_stream import EvaluationStream
from freshflow.evaluation.replay import evaluate_job
from freshflow.evaluation.scores import SCORE_KINDS, Scores


@pytest.fixture
def scored(simulate, tmp_path):
    """Scores of the job over simulated events, with these settings."""
    simulate("events.jsonl", events=3_000, users=300, items=200, seed=1)

    def scored_with(shared: int = 20_000, **job: int) -> Scores:
        ranker = RankerConfig(broadcast_examples=shared)
        config = Config(job=JobConfig(**job), ranker=ranker, refresh=RefreshConfig(interval_s=0))
        return evaluate_job(EvaluationStream(str(tmp_path / "events.jsonl"), config), time.perf_counter).scores

    return scored_with


def test_batches_of_256_find_what_single_records_find(scored):
    one, other = (scored(batch_size=size) for size in (1, 256))
    assert one.metric_values("all").hr20 > 0.4
    for kind in SCORE_KINDS:
        assert other.metric_values(kind) == one.metric_values(kind), kind


def test_eight_partitions_find_what_one_finds_within_a_hundredth(scored):
    one, eight = (scored(partitions=partitions).metric_values("all") for partitions in (1, 8))
    assert eight.hr20 == pytest.approx(one.hr20, rel=0.01)
    assert eight.mrr20 == pytest.approx(one.mrr20, rel=0.01)


def test_rankers_that_learn_from_their_own_users_alone_find_less_at_first(scored):
    shared, alone = (scored(shared=events, partitions=8).metric_values("all") for events in (20_000, 0))
    assert alone.hr20 < 0.98 * shared.hr20
    assert alone.mrr20 < 0.98 * shared.mrr20
