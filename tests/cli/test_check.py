"""`freshflow check`: what it finds, and that it changes nothing."""

import fcntl
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Finished = CompletedProcess[str]
Checked = Callable[..., tuple[int, str]]
PAGE = Path(__file__).parents[2] / "freshflow" / "docs" / "how-to" / "check.md"


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Run `freshflow check <arguments>` in the test's folder; its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def checked(*arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["check", *map(str, arguments)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout

    return checked


def failures(said: str) -> list[str]:
    return [line for line in said.splitlines() if not line.startswith("ok ")]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_job_that_could_go_on_is_all_ok_and_nothing_is_changed(
    tmp_path: Path, checked: Checked, simulate: Callable[..., Counter[str]], run_here: Callable[..., JobStats]
) -> None:
    simulate("events.jsonl", events=60, users=5, items=20)
    run_here(JobUrls("events.jsonl", "lists.jsonl"), recovery=tmp_path / "state")
    before = contents(tmp_path)
    code, said = checked("--input", "events.jsonl", "--output", "lists.jsonl", "--recovery", "state")
    assert (code, failures(said)) == (0, []), said
    assert re.search(r"input +events\.jsonl: of \d+ records, \d+ can be read as events", said)
    assert "recovery       the job goes on from its snapshots, 2 of them; " in said
    assert re.search(r"canary +an event became a list in [\d.]+ s", said)
    assert contents(tmp_path) == before


def test_what_is_wrong_is_told_a_line_each_and_the_exit_code_is_1(
    tmp_path: Path, checked: Checked, simulate: Callable[..., Counter[str]], run_here: Callable[..., JobStats]
) -> None:
    simulate("events.jsonl", events=60, users=5, items=20)
    run_here(JobUrls("events.jsonl", "lists.jsonl"), recovery=tmp_path / "state")
    (tmp_path / "letters.jsonl").write_text('{"dear": "reader"}\n')
    options = ["--recovery", "state", "--partitions", 3, "--processes", 4, "--metrics-address", "192.0.2.1:9464"]
    with (tmp_path / "state/in-use").open("wb") as lock:
        code, said = checked("--input", "letters.jsonl", "--output", "no/lists.jsonl", "--quiet", *options)
        assert code == 1
        assert [re.match(r"FAIL (\S+ ?\S*)  ", line)[1].strip() for line in said.splitlines()] == [  # type: ignore[index]
            *("configuration", "metrics", "input", "output", "dead letters", "recovery")
        ]
        assert "none of 1 records is an event (" in said
        assert "was written with job.partitions = 1" in said
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "in use by another job" in checked("--input", "events.jsonl", "--output", "-", *options[:2])[1]


def test_a_setting_that_is_not_allowed_is_a_line_too(checked: Checked) -> None:
    code, said = checked("--input", "-", "--output", "-", "--metrics-address", ":9464")
    assert code == 1
    assert re.fullmatch(r"FAIL configuration  the command line: metrics\.address = ':9464' is not allowed: .*\n", said)


def test_a_state_of_another_version_is_refused(
    tmp_path: Path, checked: Checked, simulate: Callable[..., Counter[str]], run_here: Callable[..., JobStats]
) -> None:
    simulate("events.jsonl", events=60, users=5, items=20)
    with (tmp_path / "events.jsonl").open("a") as file:  # whole states are written when a user is forgotten
        file.write('{"type": "forget", "user_id": "u1", "ts": 1764000000}\n')
    run_here(JobUrls("events.jsonl", "lists.jsonl"), recovery=tmp_path / "state")
    bases = list((tmp_path / "state/states").glob("*.snapshot"))
    assert bases
    for base in bases:
        base.write_bytes(b"freshflow-users-1\n" + base.read_bytes()[18:])
    code, said = checked("--input", "events.jsonl", "--output", "lists.jsonl", "--recovery", "state", "--quiet")
    assert code == 1
    assert "another version of FreshFlow" in said


def test_a_state_of_variants_and_guests_is_one_to_go_on_from_for_the_same_variants_alone(
    tmp_path: Path, checked: Checked, simulate: Callable[..., Counter[str]], freshflow: Callable[..., Finished]
) -> None:
    simulate("events.jsonl", events=60, users=5, items=20)
    (tmp_path / "base.toml").write_text("[users]\nguests = true\n")
    (tmp_path / "calm.toml").write_text("[rules]\npinned = { i1 = 1 }\n")
    (tmp_path / "bold.toml").write_text("[explore]\nshare = 0.2\n")
    options = ["--input", "events.jsonl", "--output", "lists.jsonl", "--recovery", "state", "--config", "base.toml"]
    split = ["--variants", "calm.toml", "bold.toml"]
    done = freshflow("run", *options, *split, "--log-format", "json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stderr.splitlines()[-1])["variants"]) == {"calm", "bold"}
    code, said = checked(*options, *split)
    assert (code, failures(said)) == (0, []), said
    assert "2 partitions of the variants calm and bold" in said
    assert "goes on from its snapshots, 6 of them" in said
    assert said.count("ok   canary") == 2
    code, said = checked(*options, "--partitions", 2, "--quiet")
    assert (code, "was written with variants = ['calm', 'bold'], and this job has None" in said) == (1, True)


def test_guests_are_events_only_where_they_are_known(tmp_path: Path, checked: Checked) -> None:
    (tmp_path / "events.jsonl").write_text('{"type": "view", "session_id": "s1", "item_id": "i1", "ts": 1764000000}\n')
    (tmp_path / "guests.toml").write_text("[users]\nguests = true\n")
    options = ["--input", "events.jsonl", "--output", "-"]
    assert "none of 1 records is an event" in checked(*options)[1]
    assert "of 1 records, 1 can be read as events" in checked(*options, "--config", "guests.toml")[1]


def test_the_page_shows_what_the_command_says(checked: Checked, simulate: Callable[..., Counter[str]]) -> None:
    simulate("events.jsonl", events=60, users=5, items=20)
    _, said = checked("--input", "events.jsonl", "--output", "lists.jsonl", "--recovery", "state")
    shown = re.search(r"```\n(ok .*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert shown is not None
    assert [re.sub(r"[\d.,]+", "0", line) for line in shown[1].splitlines()] == [
        re.sub(r"[\d.,]+", "0", line) for line in said.splitlines()
    ]
