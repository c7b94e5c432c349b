"""`freshflow run`, as it is called: what it takes, what it says, and how it fails."""

import gzip
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest
from bytewax.recovery import init_db_dir
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.cli.progress import print_summary, shorten_url
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines, write_lines
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Json = dict[str, Any]
Freshflow = Callable[..., CompletedProcess[str]]
Read = Callable[[str], list[Json]]
SMALL: Json = {"events": 300, "users": 30, "items": 30, "requests": 0.2}


class Failure(NamedTuple):
    """What a user did wrong, and the sentence that says so."""

    sentence: str  # as a regular expression
    input: str = "events.jsonl"
    output: str = "lists.jsonl"
    options: tuple[str, ...] = ()
    model: str = "freshflow.ranking.model_factories:adam"


NOBODY = "No Kafka broker answered at 127.0.0.1:1 within 1 s .*; check that it runs, .*"
FAILURES = {
    "the input is missing": Failure(r"The input nope\.jsonl does not exist\.", input="nope.jsonl"),
    "the packed input breaks off": Failure(
        r"cut\.jsonl\.gz cannot be read on after line [1-9]\d*: the gzip stream is damaged or incomplete .*",
        input="cut.jsonl.gz",
    ),
    "the output's folder is missing": Failure(r"The folder of the output no/l\.jsonl does not .*", output="no/l.jsonl"),
    "the disk is full": Failure(r"The output full\.jsonl cannot be written: No space left .*", output="full.jsonl"),
    "no broker is at the input": Failure(NOBODY, input="kafka://127.0.0.1:1/events"),
    "the scheme is unknown": Failure(r"No scheme s3:// is registered; give a path, .*", input="s3://bucket/e.jsonl"),
    "the output is the input": Failure(r"--input and --output both name events\.jsonl; .*", output="events.jsonl"),
    "a key is unknown": Failure(
        r"bad\.toml: job\.partition is not a known key; did you mean partitions\.", options=("--config", "bad.toml")
    ),
    "the configuration is missing": Failure(
        r"The configuration file no\.toml does not exist; .*", options=("--config", "no.toml")
    ),
    "there are no partitions": Failure(
        r"the command line: job\.partitions = 0 is not allowed: .*", options=("--partitions", "0")
    ),
    "the model is not there": Failure(r"ranker\.model = 'no\.such:model' cannot be loaded .*", model="no.such:model"),
    "the recovery folder holds something else": Failure(
        r"The recovery folder other cannot be used \(No recovery partitions found\); .*",
        options=("--recovery", "other"),
    ),
    "the recovery folder is damaged": Failure(
        r"The recovery folder bad cannot be used \(file is not a database\); .*", options=("--recovery", "bad")
    ),
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, freshflow_in: Freshflow) -> dict[str, CompletedProcess[str]]:
    """Every failure above, each in a process of its own."""
    top = tmp_path_factory.mktemp("failures")
    prepare(top / "all")

    def fail(name: str) -> CompletedProcess[str]:
        case = FAILURES[name]
        folder = shutil.copytree(top / "all", top / name, symlinks=True)
        settings = {"ranker_model": case.model, "kafka_timeout_s": 1}
        return freshflow_in(folder, "run", "--input", case.input, "--output", case.output, *case.options, **settings)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(FAILURES, pool.map(fail, FAILURES), strict=True))


def prepare(folder: Path) -> None:
    """Put what the failures above stumble over into a folder."""
    folder.mkdir()
    write_lines(shop_lines(ShopConfig(**SMALL)), str(folder / "events.jsonl"))
    write_lines(shop_lines(ShopConfig(events=3_300, users=30, items=30)), str(folder / "cut.jsonl.gz"))
    os.truncate(folder / "cut.jsonl.gz", (folder / "cut.jsonl.gz").stat().st_size * 9 // 10)
    (folder / "bad.toml").write_text("[job]\npartition = 3\n")
    (folder / "full.jsonl").symlink_to("/dev/full")
    (folder / "other").mkdir()
    (folder / "other/letter.txt").write_text("Dear reader,")
    (folder / "bad").mkdir()
    init_db_dir(folder / "bad", 1)
    (folder / "bad/part-0.sqlite3").write_bytes(b"x" * 5000)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_told_in_one_sentence(name: str, failed: dict[str, CompletedProcess[str]]) -> None:
    done = failed[name]
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(f"freshflow: {FAILURES[name].sentence}\n", done.stderr), done.stderr


def test_a_word_where_a_number_belongs_is_a_usage_error() -> None:
    done = CliRunner().invoke(app, ["run", "--input", "-", "--output", "-", "--partitions", "many"])
    assert done.exit_code == 2
    assert "Invalid value for '--partitions'" in done.stderr


def test_help_names_every_option() -> None:
    done = CliRunner().invoke(app, ["run", "--help"])
    assert done.exit_code == 0
    options = "input output dead-letters metrics config recovery partitions batch-size until-end quiet"
    assert [option for option in options.split() if f"--{option}" not in done.stdout] == []


def test_from_standard_input_to_standard_output_nothing_but_lists_is_written(
    tmp_path: Path, freshflow: Freshflow, simulate: Callable[..., Counter[str]]
) -> None:
    kinds = simulate("events.jsonl", **SMALL)
    done = freshflow("run", "--input", "-", "--output", "-", stdin=tmp_path / "events.jsonl")
    assert done.returncode == 0, done.stderr
    lists = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(one["cause"] == "request" for one in lists) == kinds["request"]
    assert all(one["source"]["file"] == "-" for one in lists)
    assert done.stderr.count("Refused {'file': '-'") == kinds["broken"]
    assert figure(done.stderr, "events in") == f"{kinds.total():,}"


def test_the_table_at_the_end_has_the_numbers(
    freshflow: Freshflow, simulate: Callable[..., Counter[str]], read: Read
) -> None:
    kinds = simulate("events.jsonl.gz", **SMALL)
    done = freshflow("run", "--input", "events.jsonl.gz", "--output", "lists.jsonl.gz", job_partitions=2)
    assert (done.returncode, done.stdout) == (0, "")
    assert max(map(len, done.stderr.splitlines())) <= 80
    letters = Counter(letter["code"] for letter in read("lists.dead-letters.jsonl"))
    assert figure(done.stderr, "events in") == str(kinds.total())
    assert int(figure(done.stderr, "lists out")) > kinds["request"]
    assert figure(done.stderr, "rejected") == str(letters.total()) == str(kinds["broken"])
    assert {code: figure(done.stderr, code) for code in letters} == {
        code: str(count) for code, count in letters.items()
    }
    assert 0 < float(figure(done.stderr, "HR@20")) < 1
    assert 0 < float(figure(done.stderr, "of popularity")) < 1
    assert re.search(r"event to list, p50 / p99 +[\d,]+ / [\d,]+ ms", done.stderr)
    assert int(figure(done.stderr, "events a second").replace(",", "")) > 0
    assert re.search(r"rejected +\d+ +lists\.dead-letters\.jsonl", done.stderr)


def test_where_there_is_no_number_stands_a_dash(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run_here: Callable[..., JobStats],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none.csv").write_text("type,user_id,item_id,ts\nview,u1\n")
    places = JobUrls("none.csv", "[lists] of today.jsonl")
    print_summary(run_here(places), places)
    said = capsys.readouterr().err
    assert re.search(r"lists out +0 +\[lists\] of today\.jsonl", said)
    for row in ("HR@20", "of popularity", "MRR@20", "event to list, p50 / p99"):
        assert figure(said, row) == "-"


def test_csv_and_packed_files_give_the_lists_of_plain_ones(
    tmp_path: Path, simulate: Callable[..., Counter[str]], run_here: Callable[..., JobStats], read: Read
) -> None:
    simulate("clean.jsonl", **SMALL, dirty=False)
    events = [e for e in read("clean.jsonl") if e["type"] != "item"]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    columns = ["type", "user_id", "item_id", "ts", "event_id", "session_id", "request_id"]
    rows = [",".join(str(e.get(column, "")) for column in columns) for e in events]
    with gzip.open(tmp_path / "events.csv.gz", "wt") as file:
        file.write("\n".join([",".join(columns), *rows]))
    found = []
    for name in ("events.jsonl", "events.csv.gz"):
        run_here(JobUrls(str(tmp_path / name), str(tmp_path / "lists.jsonl")), clock=lambda: 0)
        found.append([{k: v for k, v in one.items() if k not in ("list_id", "source")} for one in read("lists.jsonl")])
    assert found[0] == found[1]
    assert len(found[0]) > 100


def figure(said: str, name: str) -> str:
    """The number behind a row's name in the table."""
    found = re.search(rf"^ *{re.escape(name)} +(\S+)", said, re.MULTILINE)
    assert found, said
    return found[1]


@pytest.mark.parametrize(
    ("place", "width", "short"),
    [
        ("events.jsonl", 20, "events.jsonl"),
        ("/srv/shop/2025/03/events.jsonl", 20, "…/03/events.jsonl"),
        ("/srv/shop/2025/03/events-of-all-shops.jsonl", 20, "…-of-all-shops.jsonl"),
        ("the-lists-of-today.jsonl", 20, "…ists-of-today.jsonl"),
        ("exports/2025/03/events.jsonl", 20, "…/03/events.jsonl"),
        ("kafka://broker-1.example:9092,broker-2.example:9092/events", 30, "kafka://…/events"),
        ("-", 20, "-"),
    ],
)
def test_a_long_place_is_cut_at_the_front(place: str, width: int, short: str) -> None:
    assert shorten_url(place, width) == short
    assert len(short) <= width


def test_a_place_below_the_working_folder_is_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shorten_url(str(tmp_path / "out/lists.jsonl"), 80) == "out/lists.jsonl"
