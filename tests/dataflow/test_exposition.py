"""The metrics endpoint of a job, asked over HTTP and read with Prometheus's own parser."""

import json
import re
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from freshflow.dataflow.exposition import METRICS, table
from freshflow.dataflow.messages import PartitionOutput
from freshflow.dataflow.progress import Progress
from freshflow.quality.report import Report
from freshflow.simulate.config import ShopConfig
from freshflow.simulate.write import shop_lines

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]
PAGE = Path(__file__).parents[2] / "freshflow" / "docs" / "metrics.md"


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def scraped(address: str) -> Samples:
    """The samples at an address, by name and labels; none while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return samples


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for key, value in samples.get(name, {}).items() if labels.items() <= dict(key).items())


def figure(said: str, name: str) -> int:
    found = re.search(rf"^ *{re.escape(name)} +([\d,]+)", said, re.MULTILINE)
    return int(found[1].replace(",", "")) if found else 0


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_scraped_is_what_the_table_says(
    start: Callable[..., Popen[str]], finish: Callable[[Popen[str]], CompletedProcess[str]], processes: int
) -> None:
    kinds: Counter[str] = Counter()
    lines = []
    for _, kind, raw in shop_lines(ShopConfig(events=400, users=30, items=30, requests=0.2)):
        kinds[kind] += 1
        lines.append(raw.decode("utf-8", "surrogateescape") + "\n")
    address = free_address()
    options = f"--input - --output lists.jsonl --metrics-address {address} --processes {processes}".split()
    job = start("freshflow.cli.main", "run", *options, stdin=PIPE, refresh_interval_s=0)
    assert job.stdin is not None
    job.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[attr-defined]
    job.stdin.writelines(lines)
    job.stdin.flush()
    samples: Samples = {}
    while job.poll() is None:
        before, samples = samples, scraped(address)
        if total(samples, "freshflow_events_total") == kinds.total() and counted(before) == counted(samples):
            break
        time.sleep(4)  # longer than an event that may be from the future waits for others
    done = finish(job)
    assert done.returncode == 0, done.stderr
    said = done.stderr
    assert total(samples, "freshflow_events_total") == figure(said, "events in") == kinds.total()
    assert total(samples, "freshflow_published_total") == figure(said, "lists out") > 0
    assert total(samples, "freshflow_lists_unchanged_total") == figure(said, "lists that did not change")
    assert total(samples, "freshflow_left_out_total", kind="duplicate") == figure(said, "duplicates")
    assert total(samples, "freshflow_rejected_total") == figure(said, "rejected") == kinds["broken"] > 0
    for key, count in samples["freshflow_rejected_total"].items():
        assert count == figure(said, dict(key)["code"])
    assert total(samples, "freshflow_lists_total", cause="answer") == kinds["request"]
    assert total(samples, "freshflow_read_to_published_seconds_count") == figure(said, "lists out")
    assert 0 < total(samples, "freshflow_freshness_seconds_count") <= figure(said, "lists out")
    assert total(samples, "freshflow_table_size", table="users") > 0
    assert total(samples, "freshflow_epoch_end_seconds_count", step="partitions") > 0
    assert total(samples, "freshflow_build_info") == 1
    assert samples["process_start_time_seconds"]
    assert total(samples, "freshflow_hit_rate_at_20", of="ours", over="all", partition="0") > 0


def counted(samples: Samples) -> Samples:
    """The samples that only events change."""
    return {name: values for name, values in samples.items() if name.startswith(("freshflow_l", "freshflow_p"))}


def test_a_port_that_is_taken_is_told_in_one_sentence(
    tmp_path: Path, freshflow: Callable[..., CompletedProcess[str]]
) -> None:
    (tmp_path / "events.jsonl").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = freshflow("run", "--input", "events.jsonl", "--output", "lists.jsonl", "--metrics-address", address)
    assert done.returncode == 1
    assert done.stderr == (
        f"freshflow: Metrics cannot be served at {address}: Address already in use; stop what listens there, or give "
        "another --metrics-address.\n"
    )


def test_a_counter_starts_from_zero_where_the_job_was_resumed_and_a_gauge_does_not() -> None:
    from freshflow.config import Config
    from freshflow.dataflow.exposition import JobCollector

    progress = Progress()
    report = Report(3, 0, {"events": 1_005, "items": 70}, {"hr20": 0.5})
    progress.note_output(PartitionOutput(0, [], report, [], {"events": 1_000, "items": 60}, [5, 20, 10**9]), 10)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in JobCollector(progress, Config()).collect()
        for sample in family.samples
    }
    assert samples["freshflow_learned_total", ("partition", "3")] == 5
    assert samples["freshflow_table_size", ("partition", "3"), ("table", "items")] == 70
    assert samples["freshflow_freshness_seconds_bucket", ("le", "0.01")] == 1
    assert samples["freshflow_freshness_seconds_bucket", ("le", "0.025")] == 2
    assert samples["freshflow_freshness_seconds_bucket", ("le", "+Inf")] == 3
    assert {family.name for family in JobCollector(progress, Config()).collect()} == {
        metric.name.removesuffix("_total") for metric in METRICS
    }


def test_the_page_has_the_table_of_the_code() -> None:
    assert table() in PAGE.read_text("utf-8")


def test_the_log_in_json_is_an_object_a_line_and_names_nobody_and_the_last_line_is_still_the_sentence(
    tmp_path: Path, freshflow: Callable[..., CompletedProcess[str]]
) -> None:
    (tmp_path / "events.jsonl").write_text(
        '{"type": "view", "user_id": "u1", "item_id": "i1", "ts": "ann@example.org"}\n'
    )
    options = ["run", "--input", "events.jsonl", "--output", "-", "--log-format", "json"]
    done = freshflow(*options)
    assert done.returncode == 0, done.stderr
    refused, ended = map(json.loads, done.stderr.splitlines())
    assert (refused["level"], ended["events"], ended["rejected"]) == ("warning", 1, {"bad_time": 1})
    assert "ann@" not in done.stderr
    assert "ann@" in freshflow(*options, log_quotes="true").stderr
    failed = freshflow(*options[:3], "--output", "no/lists.jsonl", "--log-format", "json")
    said, last = failed.stderr.splitlines()
    assert last == f"freshflow: {json.loads(said)['message']}"
