"""`freshflow explain`, over what a job has written."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, get_args

import pytest

from freshflow.cli.explain import CAUSE_TEXTS, REASON_TEXTS, describe_reason
from freshflow.outputs.reasons import PUBLISHED_REASONS
from freshflow.outputs.records import Cause, ListItem, Model, RecommendationList, encode

Freshflow = Callable[..., CompletedProcess[str]]


def line(user: str, *items: ListItem, cause: Any = "interaction", list_id: str = "00") -> bytes:
    one = RecommendationList(
        user,
        list_id,
        "feed",
        cause,
        1_700_000_000_000,
        1_700_000_001_000,
        {"file": "e.jsonl", "line": 7},
        Model(0, 1200),
        items,
    )
    value = encode(one)[1]
    assert value is not None
    return value + b"\n"


LINES = [
    line("u1", ListItem("old", 1.0, "popular", ())),
    line("u1", ListItem("a", 2.5, "together", ("b",)), ListItem("u2", 1.0, "again", ("u2",)), cause="refresh"),
    line("u2", ListItem("c", 1.0, "popular", ())),
    b'{"key":"u2","value":null}\n',
    line('a "quoted" user', ListItem("d", 0.5, "popular", (), {"last_50": 0.25, "constant": -0.125, "own": 0.375})),
]


@pytest.fixture(params=["lists.jsonl", "lists.jsonl.gz"])
def lists(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    content = b"".join(LINES)
    name = str(request.param)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return name


def test_the_latest_list_is_told_with_reasons(freshflow: Freshflow, lists: str) -> None:
    done = freshflow("explain", "u1", "--lists", lists)
    assert done.returncode == 0, done.stderr
    assert "2 items for u1" in done.stdout
    assert "because items or models changed" in done.stdout
    assert "file e.jsonl line 7" in done.stdout
    assert "1,200 events" in done.stdout
    assert "goes with b" in done.stdout
    assert "the user came back to it before" in done.stdout
    assert "old" not in done.stdout
    assert "counted" not in done.stdout


def test_what_counted_most_is_told_where_the_job_wrote_it(freshflow: Freshflow, lists: str) -> None:
    done = freshflow("explain", 'a "quoted" user', "--lists", lists)
    assert "own +0.38, last 50 +0.25, constant -0.12" in done.stdout


@pytest.mark.parametrize("user", ["u2", "u3", "00", "e.jsonl"])
def test_who_has_no_list_or_was_forgotten_is_told_so(freshflow: Freshflow, lists: str, user: str) -> None:
    done = freshflow("explain", user, "--lists", lists)
    assert done.returncode == 1
    assert done.stderr == (
        f"freshflow: There is no list of {user} in {lists}: they have done nothing yet, or were forgotten.\n"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"The lists in lists.jsonl cannot be read: .*No such file.*\."),
        (b'["u1"]\n', r"lists.jsonl has a line that is not a list; name a file that a job has written\."),
        (b'{"user_id":"u1"}\n', r"The record of u1 in lists.jsonl is not a list \(.*\); give the output of a job\."),
    ],
)
def test_what_is_no_output_of_a_job_is_refused(
    freshflow: Freshflow, tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "lists.jsonl").write_bytes(content)
    done = freshflow("explain", "u1", "--lists", "lists.jsonl")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(f"freshflow: {sentence}\n", done.stderr), done.stderr


def test_a_companion_that_was_forgotten_is_not_named() -> None:
    assert describe_reason(ListItem("a", 1.0, "together", ())) == "related to items the user looked at"


def test_every_cause_of_a_list_and_every_reason_has_words() -> None:
    assert CAUSE_TEXTS.keys() == set(get_args(Cause))
    assert REASON_TEXTS.keys() >= set(PUBLISHED_REASONS)
