"""`freshflow forget` and files: what is appended to which input, and what is refused with one sentence."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.config.schema import EventsConfig
from freshflow.errors import FreshFlowError, find_user_error
from freshflow.events.model import Forget
from freshflow.events.parser import parse_record
from freshflow.io.files.reader import EventFile

Json = dict[str, Any]
VIEW = '{"type":"view","user_id":"u","item_id":"i","ts":1750000000}'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FRESHFLOW_PRIVACY_KEY", "FRESHFLOW_PRIVACY_PSEUDONYMISE"):
        monkeypatch.delenv(name, raising=False)


def forget(*arguments: str) -> str:
    """What the command says, of one that succeeds."""
    done = CliRunner().invoke(app, ["forget", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def refusal(*arguments: str) -> str:
    with pytest.raises(FreshFlowError) as refused:
        CliRunner().invoke(app, ["forget", *arguments], catch_exceptions=False)
    return str(find_user_error(refused.value))


def events_in(path: str) -> list[object]:
    """All records of a file, as the job would take them."""
    opened = EventFile(path, 10_000)
    records = opened.read(100) or []
    opened.close()
    return [parse_record(opened.origin, n, raw, columns=opened.columns, config=EventsConfig()) for n, raw in records]


@pytest.mark.parametrize("before", ["", VIEW, VIEW + "\n", VIEW + "\n\n"])
def test_the_event_is_a_line_of_its_own_whatever_the_file_ends_with(before: str) -> None:
    Path("events.jsonl").write_text(before)
    assert forget('a "b"', "--input", "events.jsonl") == "forget event   events.jsonl, its last line\n"
    *kept, event = events_in("events.jsonl")
    assert len(kept) == bool(before)
    assert isinstance(event, Forget)
    assert event.user_id == 'a "b"'
    assert event.ts_ms > 1_750_000_000_000
    assert Path("events.jsonl").read_text().startswith(before)


@pytest.mark.parametrize("before", [VIEW, VIEW + "\n"])
def test_a_packed_file_gets_a_packed_line(before: str) -> None:
    Path("events.jsonl.gz").write_bytes(gzip.compress(before.encode()))
    forget("u", "--input", "events.jsonl.gz")
    assert [type(event).__name__ for event in events_in("events.jsonl.gz")] == ["Interaction", "Forget"]


def test_a_table_gets_a_row_in_the_order_of_its_columns() -> None:
    Path("events.csv").write_text("ts,item_id,user_id,type\n1750000000,i,u,view")
    forget('u, "v"', "--input", "events.csv")
    _, event = events_in("events.csv")
    assert isinstance(event, Forget)
    assert event.user_id == 'u, "v"'


def test_a_table_without_a_column_for_it_stays_as_it_is() -> None:
    Path("events.csv").write_text("ts,user_id\n")
    assert refusal("u", "--input", "events.csv") == (
        "The header of events.csv names no type, so that no forget event fits into it."
    )
    assert Path("events.csv").read_text() == "ts,user_id\n"


def test_a_file_of_lists_is_left_to_the_job() -> None:
    Path("lists.jsonl").write_text(VIEW)
    assert refusal("u", "--output", "lists.jsonl") == (
        "The output lists.jsonl does not take tombstones from outside the job: leave --output out; the job marks the "
        "user as forgotten in its output when it reads the event."
    )
    assert Path("lists.jsonl").read_text() == VIEW


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Nothing to do: give the job's --input, its --output, or both."),
        (["--input", "-"], "- cannot be appended to: its scheme does not support it; give another place."),
        (["--input", "s3://x"], "No scheme s3:// is registered; give a path, - or kafka://host:port/topic."),
        (["--input", "none.jsonl"], "The input none.jsonl does not exist."),
        (["--input", "kafka://x"], "kafka://x is not the address of a topic; write kafka://host:port/topic."),
    ],
)
def test_places_that_cannot_be_written_are_refused(arguments: list[str], sentence: str) -> None:
    assert refusal("u", *arguments) == sentence


@pytest.mark.parametrize("user", ["", 513 * "u"])
def test_what_no_event_could_hold_as_an_id_is_refused(user: str) -> None:
    Path("events.jsonl").write_text("")
    assert refusal(user, "--input", "events.jsonl") == (
        "USER is no id that an event could have: give 1 to 512 characters in UTF-8."
    )
    assert Path("events.jsonl").read_text() == ""


def test_the_event_holds_the_id_as_it_is_also_where_the_job_makes_it_a_pseudonym(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRESHFLOW_PRIVACY_PSEUDONYMISE", "true")
    monkeypatch.setenv("FRESHFLOW_PRIVACY_KEY", 32 * "k")
    Path("events.jsonl").write_text("")
    forget("u7", "--input", "events.jsonl")
    assert json.loads(Path("events.jsonl").read_text())["user_id"] == "u7"


def test_a_guest_is_named_by_the_session() -> None:
    Path("events.jsonl").write_text("")
    forget("s1", "--guest", "--input", "events.jsonl")
    event = json.loads(Path("events.jsonl").read_text())
    assert (event["type"], event["session_id"], event.get("user_id")) == ("forget", "s1", None)
