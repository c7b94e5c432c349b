"""From the URLs of the command line to sources and sinks."""

from pathlib import Path

import pytest

from freshflow.config.schema import Config
from freshflow.errors import ConfigError, InputError
from freshflow.io.files.sink import FileSink
from freshflow.io.files.source import FileSource
from freshflow.io.files.stdin import StdinSource
from freshflow.io.kafka import KafkaSink, KafkaSource
from freshflow.io.registry import open_sink, open_source, truncate_output


def source_of(url: str) -> object:
    return open_source(url, Config(), clock=lambda: 0, should_stop=lambda: False)


def test_a_url_says_what_kind_of_source_and_sink_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"{}\n")
    assert isinstance(source_of(str(path)), FileSource)
    assert isinstance(source_of("-"), StdinSource)
    assert isinstance(source_of("kafka://localhost:9092/events"), KafkaSource)
    assert isinstance(open_sink(str(path), Config()), FileSink)
    assert isinstance(open_sink("-", Config()), FileSink)
    assert isinstance(open_sink("kafka://localhost:9092/lists", Config()), KafkaSink)


@pytest.mark.parametrize("url", ["http://localhost/events.jsonl", "KAFKA://localhost:9092/events", "file:///x.jsonl"])
def test_an_unknown_scheme_is_refused_by_name(url: str) -> None:
    scheme = url.partition(":")[0]
    for opened in (source_of, lambda url: open_sink(url, Config())):
        with pytest.raises(ConfigError, match=f"^{scheme}:// is no place FreshFlow can read or write; give a path,"):
            opened(url)


def test_a_missing_file_is_refused_before_the_job_runs() -> None:
    with pytest.raises(InputError, match=r"no\.jsonl does not exist"):
        source_of("no.jsonl")


def test_only_a_file_that_is_there_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_bytes(b"of an earlier run\n")
    for url in (str(tmp_path / "old.jsonl"), str(tmp_path / "new.jsonl"), "-", "kafka://localhost:9092/lists"):
        truncate_output(url)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("old.jsonl", b"")]
