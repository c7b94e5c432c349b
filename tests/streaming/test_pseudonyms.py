"""A job with pseudonyms gives the lists of one without, and what it writes and keeps holds no id of a user."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from freshflow.events.pseudonyms import Pseudonyms

Json = dict[str, Any]
Freshflow = Callable[..., CompletedProcess[str]]
Read = Callable[[str], list[Json]]
KEY, OTHER = "0123456789abcdef0123456789abcdef", "abcdefghijklmnopqrstuvwxyzabcdef"
PRIVATE = {"privacy_pseudonymise": "true", "privacy_key": KEY}
ID = re.compile(rb"zz\d+")


@pytest.fixture
def events(tmp_path: Path, simulate: Callable[..., Counter[str]]) -> list[Json]:
    """Events of a shop whose users are called zz1, zz2, and so on, also in sessions and in what is no event."""
    simulate("plain.jsonl", events=400, users=40, items=40, requests=0.3)
    content = (tmp_path / "plain.jsonl").read_bytes()
    (tmp_path / "plain.jsonl").unlink()
    lines = re.sub(rb'"(user_id|session_id)":"\w', rb'"\1":"zz', content).splitlines()
    lines += [b'{"type":"view","userId":"zz1"}', b'{"type":"zz2"}', b"zz3", b'{"type":"view","user_id":["zz4"]}']
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return [json.loads(line) for line in lines if line.startswith(b'{"type":"request"')]


def job(output: str, *arguments: object) -> list[object]:
    return ["run", "--input", "events.jsonl", "--output", output, "--metrics", f"metrics-{output}", *arguments]


def named(lists: list[Json], name: Callable[[str], str]) -> dict[tuple[str, ...], list[Json]]:
    """Items by cause, line and user."""
    return {(one["cause"], one["source"]["line"], name(one["user_id"])): one["items"] for one in lists}


def test_lists_are_the_same_and_no_file_of_the_job_holds_an_id(
    events: list[Json], tmp_path: Path, freshflow: Freshflow, read: Read
) -> None:
    plain = freshflow(*job("plain.jsonl"))
    private = freshflow(*job("private.jsonl", "--recovery", "state"), **PRIVATE)
    assert (plain.returncode, private.returncode) == (0, 0), plain.stderr + private.stderr
    name = Pseudonyms(KEY).pseudonymise
    lists = read("private.jsonl")
    assert named(lists, str) == named(read("plain.jsonl"), name)
    assert {one["request_id"] for one in lists if one["cause"] == "request"} == {one["request_id"] for one in events}

    written = ["private.jsonl", "private.dead-letters.jsonl", "metrics-private.jsonl"]
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    for path in [*map(tmp_path.joinpath, written), *kept]:
        content = path.read_bytes()
        assert not ID.search(content), path
        assert KEY.encode() not in content
    assert ID.search((tmp_path / "plain.dead-letters.jsonl").read_bytes())
    assert len(read("private.dead-letters.jsonl")) == len(read("plain.dead-letters.jsonl"))
    assert not ID.search(private.stderr.encode())


def test_what_is_logged_for_want_of_dead_letters_quotes_no_id(events: list[Json], freshflow: Freshflow) -> None:
    done = freshflow("run", "--input", "events.jsonl", "--output", "-", "--quiet", **PRIVATE)
    assert done.returncode == 0
    assert "Refused {'file': 'events.jsonl', 'line': " in done.stderr
    assert not ID.search((done.stdout + done.stderr).encode())


def test_a_recovery_folder_is_resumed_with_the_same_key_alone(events: list[Json], freshflow: Freshflow) -> None:
    resume = job("lists.jsonl", "--recovery", "state")
    assert freshflow(*resume, **PRIVATE).returncode == 0
    assert freshflow(*resume, **PRIVATE).returncode == 0
    other, without = freshflow(*resume, **PRIVATE | {"privacy_key": OTHER}), freshflow(*resume)
    assert (other.returncode, without.returncode) == (1, 1)
    assert "freshflow: The recovery folder was written with privacy.key (its fingerprint) = " in other.stderr
    assert "freshflow: The recovery folder was written with privacy.pseudonymise = True, " in without.stderr
    assert not any(key in other.stderr + without.stderr for key in (KEY, OTHER))


def test_several_processes_use_the_key_of_the_job(events: list[Json], tmp_path: Path, freshflow: Freshflow) -> None:
    done = freshflow(*job("lists.jsonl", "--processes", 2), **PRIVATE)
    assert done.returncode == 0, done.stderr
    users = set(re.findall(r'"user_id":"(\w+)"', (tmp_path / "lists.jsonl").read_text()))
    assert all(re.fullmatch("[0-9a-f]{32}", user) for user in users)
    assert {Pseudonyms(KEY).pseudonymise(one["user_id"]) for one in events} <= users


def test_an_evaluation_finds_the_same_figures(events: list[Json], tmp_path: Path, freshflow: Freshflow) -> None:
    found = []
    for settings in ({}, PRIVATE):
        done = freshflow("evaluate", "events.jsonl", "--json", "report.json", **settings)
        assert done.returncode == 0, done.stderr
        found.append(json.loads((tmp_path / "report.json").read_text())["job"])
        found[-1].pop("events_per_second")
    assert found[0] == found[1]
    assert found[0]["all"]["hr20"] > 0.1


def test_a_job_without_a_key_does_not_start(events: list[Json], tmp_path: Path, freshflow: Freshflow) -> None:
    done = freshflow(*job("lists.jsonl"), privacy_pseudonymise="true")
    assert done.returncode == 1
    assert done.stderr == (
        "freshflow: environment variable FRESHFLOW_PRIVACY_PSEUDONYMISE: privacy.pseudonymise needs a privacy.key of "
        "at least 32 characters, which is missing; set the environment variable FRESHFLOW_PRIVACY_KEY, e.g. to the "
        "output of `openssl rand -hex 32`.\n"
    )
    assert not (tmp_path / "lists.jsonl").exists()
