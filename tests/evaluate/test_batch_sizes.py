"""Quality under other settings of the job: how many records are read at once is no matter of quality."""

import time

from freshflow.config import Config, JobConfig, RefreshConfig
from freshflow.evaluate.evaluation import evaluate_job
from freshflow.evaluate.scores import KINDS
from freshflow.evaluate.stream import EvaluationStream


def test_batches_of_256_find_what_single_records_find(simulate, tmp_path):
    simulate("events.jsonl", events=3_000, users=300, items=200, seed=1)
    one, other = (
        evaluate_job(
            EvaluationStream(
                str(tmp_path / "events.jsonl"),
                Config(job=JobConfig(batch_size=size), refresh=RefreshConfig(interval_s=0)),
            ),
            time.perf_counter,
        ).scores
        for size in (1, 256)
    )
    assert one.figures("all").hr20 > 0.4
    for kind in KINDS:
        assert other.figures(kind) == one.figures(kind), kind
