"""Schemes of URLs: built-in ones, unknown ones, and one registered from outside the package."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from freshflow.config.schema import Config
from freshflow.errors import ConfigError, InputError
from freshflow.io import registry
from freshflow.io.files.sink import FileSink
from freshflow.io.files.source import FileSource
from freshflow.io.files.stdin import StdinSource
from freshflow.io.kafka.sink import KafkaSink
from freshflow.io.kafka.source import KafkaSource
from freshflow.io.scheme import CheckOptions, Scheme, SourceOptions, StreamRole
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats
from tests.builders import memory_scheme

KAFKA_URL = "kafka://localhost:9092/lists"
LATE_MS = 4_000_000_000_000  # after every simulated event


def open_source(url: str) -> object:
    return registry.open_source(url, Config(), SourceOptions(clock=lambda: 0, should_stop=lambda: False))


def open_sink(url: str) -> object:
    return registry.open_sink(url, Config())


@pytest.fixture(autouse=True)
def memory_scheme_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.is_live("-")  # loads the built-in schemes
    monkeypatch.setattr(registry, "_schemes", dict(registry._schemes))
    registry.register(memory_scheme.MEMORY_SCHEME)


@pytest.fixture
def only_built_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    registry.is_live("-")  # loads the built-in schemes
    built_in = {name: scheme for name, scheme in registry._schemes.items() if name in ("", "-", "kafka")}
    monkeypatch.setattr(registry, "_schemes", built_in)
    yield


def test_open_built_in_scheme_returns_its_source_and_sink(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"{}\n")
    assert isinstance(open_source(str(path)), FileSource)
    assert isinstance(open_source("-"), StdinSource)
    assert isinstance(open_source("kafka://localhost:9092/events"), KafkaSource)
    assert isinstance(open_sink(str(path)), FileSink)
    assert isinstance(open_sink("-"), FileSink)
    assert isinstance(open_sink(KAFKA_URL), KafkaSink)
    assert [registry.is_live(url) for url in (str(path), "-", KAFKA_URL)] == [False, True, True]


@pytest.mark.parametrize("url", ["http://localhost/events.jsonl", "KAFKA://localhost:9092/events", "file:///x.jsonl"])
def test_unknown_scheme_error_lists_the_registered_ones(url: str, only_built_in: None) -> None:
    scheme = url.partition(":")[0]
    for operation in (open_source, open_sink, lambda url: registry.open_tail(url, Config())):
        with pytest.raises(ConfigError) as caught:
            operation(url)
        assert str(caught.value) == (f"No scheme {scheme}:// is registered; give a path, - or kafka://host:port/topic.")


def test_unknown_scheme_error_lists_a_plugin_scheme() -> None:
    with pytest.raises(ConfigError, match=r"give a path, .*memory://name"):
        open_sink("http://x")


def test_register_taken_name_is_refused(only_built_in: None) -> None:
    with pytest.raises(ConfigError, match="The scheme kafka:// is already registered"):
        registry.register(Scheme(name="kafka", usage="kafka://x"))


@pytest.mark.parametrize(
    "operation",
    [
        lambda url: registry.open_tail(url, Config()),
        lambda url: registry.open_log(url, Config(), None, lambda: 0),
        lambda url: registry.look_up(url, "u1", Config()),
        lambda url: registry.append_event(url, "u1", {}, Config()),
    ],
)
def test_unsupported_operation_error_names_the_url(operation: Callable[[str], object]) -> None:
    with pytest.raises(ConfigError, match=r"^memory://lists cannot be .*: its scheme does not support it"):
        operation("memory://lists")


def test_open_missing_file_raises_before_the_job_runs() -> None:
    with pytest.raises(InputError, match=r"no\.jsonl does not exist"):
        open_source("no.jsonl")


def test_truncate_output_empties_only_an_existing_file(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_bytes(b"of an earlier run\n")
    for url in (str(tmp_path / "old.jsonl"), str(tmp_path / "new.jsonl"), "-", KAFKA_URL, "memory://x"):
        registry.truncate_output(url)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("old.jsonl", b"")]


def test_check_distinct_same_place_in_other_spelling_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.jsonl").symlink_to("x.jsonl")
    for other in ("x.jsonl", "./x.jsonl", str(tmp_path / "x.jsonl"), "link.jsonl"):
        with pytest.raises(ConfigError, match=r"^--input and --output both name "):
            registry.check_distinct({"--input": "x.jsonl", "--output": other})
    for url in ("kafka://localhost:9092/metrics", "-", "memory://x", "s3://x"):
        with pytest.raises(ConfigError, match=r"^--output and --metrics both name "):
            registry.check_distinct({"--input": "x.jsonl", "--output": url, "--dead-letters": None, "--metrics": url})


def test_check_distinct_standard_streams_and_topics_are_allowed() -> None:
    registry.check_distinct({"--input": "-", "--output": "-", "--dead-letters": None, "--metrics": "m.jsonl"})
    registry.check_distinct({"--input": "kafka://localhost:9092/events", "--output": KAFKA_URL})


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("out/lists.jsonl", "out/lists.dead-letters.jsonl"),
        ("lists.jsonl.gz", "lists.dead-letters.jsonl"),
        ("-", None),
        (KAFKA_URL, None),
        ("memory://lists", None),
        ("s3://lists", None),
    ],
)
def test_sibling_url_exists_beside_a_file_only(output: str, expected: str | None) -> None:
    assert registry.sibling_url(output, "dead-letters") == expected


def test_job_through_plugin_scheme_publishes_the_lists_of_files(
    tmp_path: Path, simulate: Callable[..., object], run_here: Callable[..., JobStats]
) -> None:
    simulate("events.jsonl", events=80, users=5, items=20)
    events = (tmp_path / "events.jsonl").read_bytes().splitlines()
    urls = JobUrls("memory://events", "memory://lists", dead_letters="memory://rejects", metrics="memory://metrics")
    for url in (urls.input, urls.output, urls.dead_letters, urls.metrics):
        memory_scheme.RECORDS.pop(str(url), None)
    memory_scheme.RECORDS[urls.input] = [(None, event) for event in (*events, b"no event")]
    run_here(urls, clock=lambda: LATE_MS)
    (tmp_path / "events.jsonl").write_bytes(b"\n".join([*events, b"no event"]) + b"\n")
    run_here(JobUrls(str(tmp_path / "events.jsonl"), str(tmp_path / "lists.jsonl")), clock=lambda: LATE_MS)
    expected = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_bytes().splitlines()]
    lists = [json.loads(value or b"null") for _, value in memory_scheme.RECORDS["memory://lists"]]
    assert len(lists) > 20
    assert [strip_source(one) for one in lists] == [strip_source(one) for one in expected]
    assert memory_scheme.RECORDS["memory://lists"][0][0] == lists[0]["user_id"].encode()
    rejects = [json.loads(value or b"null") for _, value in memory_scheme.RECORDS["memory://rejects"]]
    assert {"file": "memory://events", "line": len(events) + 1} in [reject["source"] for reject in rejects]
    assert memory_scheme.RECORDS["memory://metrics"]


def strip_source(published_list: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in published_list.items() if name not in ("source", "list_id")}


def test_check_plugin_scheme_without_check_passes() -> None:
    for role in (StreamRole.EVENTS, StreamRole.LISTS):
        options = CheckOptions(subject="place", role=role, clock=lambda: 0)
        (finding,) = registry.check("memory://x", Config(), options)
        assert finding == ("place", True, "memory://x is known; its scheme has no further check")


def test_reading_an_output_does_not_load_bytewax(tmp_path: Path) -> None:
    """The server reads what a job publishes; Bytewax is only for the job."""
    code = (
        "import sys; from freshflow.config.schema import Config; from freshflow.io import registry\n"
        f"registry.open_log({str(tmp_path / 'lists.jsonl')!r}, Config(), None, lambda: 0)\n"
        "assert registry.is_live('kafka://h:1/t'); assert 'bytewax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
