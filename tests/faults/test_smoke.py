"""What compares in the fault suite finds what differs; the faults themselves are for `make test-faults`."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freshflow.config.schema import Config, JobConfig
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats
from tests.faults.outcomes import Outcome, rows_of
from tests.faults.published import Published, compared
from tests.faults.states import differences, positions, states, totals, users


def one_list(name: str, user: str = "u1", *, score: float = 1.0, at: int = 1) -> bytes:
    record = {"user_id": user, "list_id": name, "cause": "interaction", "computed_at": at, "items": [score]}
    return json.dumps(record, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        ([1, 2], [1]),
        ({"a": 1}, {"b": 1}),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), -np.zeros(2)),
        ({"a": (1, [np.arange(3)])}, {"a": (1, [np.arange(1, 4)])}),
        (JobConfig(), JobConfig(partitions=2)),
    ],
)
def test_what_differs_anywhere_is_found(one: Any, other: Any) -> None:
    assert len(differences(one, other)) == 1
    assert differences(one, one) == []


def test_a_list_that_comes_again_later_is_duplicated_and_nothing_else() -> None:
    calm = Published([one_list("a"), one_list("b")])
    assert compared(Published([one_list("a"), one_list("a", at=2), one_list("b")]), calm) == (0, 1, ())


def test_lists_that_are_missing_changed_or_new_are_told_apart() -> None:
    calm = Published([one_list("a"), one_list("b"), one_list("c", "u2")])
    found = compared(Published([one_list("a"), one_list("b", score=2), one_list("b"), one_list("d", "u2")]), calm)
    assert (found.lost, found.duplicated) == (1, 1)
    assert found.wrong == (
        "1 lists that an undisturbed job does not make",
        "1 lists with another content",
        "1 lists that came twice and differed",
        "1 users whose last list is another",
    )


def test_an_older_list_at_the_end_is_a_wrong_last_one() -> None:
    calm = Published([one_list("a"), one_list("b")])
    found = compared(Published([one_list("a"), one_list("b"), one_list("a")]), calm)
    assert found.wrong == ("1 users whose last list is another",)


def test_an_outcome_is_well_only_if_nothing_is_lost_and_nothing_wrong() -> None:
    several = [Outcome("x", 3, 0, 2, 1.25), Outcome("x", lost=1), Outcome("x", wrong=("why",))]
    assert [one.is_well for one in several] == [True, False, False]
    assert rows_of(several)[0] == ["x", "3", "0", "2", "1.2", ""]


@pytest.mark.parametrize("partitions", [1, 2])
def test_what_two_jobs_learned_from_the_same_events_is_the_same_and_from_others_is_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    simulate: Callable[..., Counter[str]],
    run_here: Callable[..., JobStats],
    partitions: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    job = JobConfig(partitions=partitions)
    found = []
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        simulate("events.jsonl", events=300, users=20, items=30, requests=0.2, seed=seed)
        run_here(JobUrls("events.jsonl", f"{name}.jsonl"), recovery=tmp_path / name, job=job)
        found.append(states(tmp_path / name, Config(job=job)))
    one, same, other = found
    assert len(one) == 2 * partitions
    assert differences(one, same) == []
    assert differences(one, other) != []
    assert len(users(one)) >= 20
    assert totals(one, "events")["events"] >= 300
    assert list(positions(tmp_path / "one")) == ["events.jsonl"]
