"""The metrics endpoint of a job, asked over HTTP and read with Prometheus's own parser."""

import json
import re
import shutil
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, run
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from freshflow.config.schema import (
    Config,
    ExploreConfig,
    JobConfig,
    RefreshConfig,
    RulesConfig,
    UsersConfig,
    VariantConfig,
)
from freshflow.metrics.report import Report
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from freshflow.streaming.experiment import Variants
from freshflow.streaming.job import JobUrls
from freshflow.streaming.messages import PartitionOutput
from freshflow.streaming.monitoring.metric_specs import metric_specs
from freshflow.streaming.monitoring.progress import JobStats
from freshflow.streaming.monitoring.prometheus import JobCollector

ROOT = Path(__file__).parents[3]
PAGE, RUNBOOK = ROOT / "freshflow" / "docs" / "reference" / "metrics.md", ROOT / "deploy" / "RUNBOOK.md"
# Two guests at the simulated shop's first moment, one of whom turns out to be a user.
GUESTS = [
    b'{"type": "view", "session_id": "s1", "item_id": "i1", "ts": "2025-03-03T00:00:00Z"}',
    b'{"type": "view", "session_id": "s2", "item_id": "i2", "ts": "2025-03-03T00:00:01Z"}',
    b'{"type": "identify", "session_id": "s2", "user_id": "ann", "ts": "2025-03-03T00:00:02Z"}',
]

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


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
    return by_name(text_string_to_metric_families(text))


def collected(progress: JobStats, variants: Variants) -> Samples:
    """What would be scraped of a job."""
    return by_name(JobCollector(progress, variants).collect())


def by_name(families: Iterable[Metric]) -> Samples:
    samples: Samples = {}
    for family in families:
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
    assert total(samples, "freshflow_filtered_total", kind="duplicate") == figure(said, "duplicates")
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
    progress = JobStats()
    report = Report(3, 0, {"events": 1_005, "items": 70}, {"hr20": 0.5})
    before, ages_ms = {"events": 1_000, "items": 60}, [5, 20, 10**9]
    progress.record_output(PartitionOutput(0, [], report, [], initial_counts=before, list_ages_ms=ages_ms), 10)
    alone = Variants([Config(job=JobConfig(partitions=4))])
    samples = collected(progress, alone)
    assert samples["freshflow_training_examples_total"][("partition", "3"),] == 5
    assert samples["freshflow_table_size"] == {(("partition", "3"), ("table", "items")): 70}
    assert [samples["freshflow_freshness_seconds_bucket"][("le", le),] for le in ("0.01", "0.025", "+Inf")] == [1, 2, 3]
    assert {family.name for family in JobCollector(progress, alone).collect()} == {
        name.removesuffix("_total") for name in metric_specs()
    }


def test_everything_a_partition_counts_is_told(tmp_path: Path, run_here: Callable[..., JobStats]) -> None:
    shop = ShopConfig(events=1_000, users=30, items=60, requests=0.1, searches=0.3)
    lines = [raw for _, _, raw in shop_lines(shop)]
    (tmp_path / "events.jsonl").write_bytes(b"\n".join([*GUESTS, *lines]))
    sections: dict[str, Any] = {
        "users": UsersConfig(guests=True),
        "explore": ExploreConfig(share=0.2),
        "rules": RulesConfig(blocked=("i1",), per_category=2, pinned={"i2": 1}, price_power=1.0),
    }
    places = JobUrls(
        str(tmp_path / "events.jsonl"), str(tmp_path / "lists.jsonl"), related=str(tmp_path / "related.jsonl")
    )
    progress = run_here(places, **sections)
    samples = collected(progress, Variants([Config(**sections)]))
    counts = progress.reports[0].counts
    told = {name for metric in metric_specs().values() for name in metric.count_names.values()}
    assert set(counts) <= told
    for metric in metric_specs().values():
        for value, name in metric.count_names.items():
            labels = {"partition": "0"} | ({metric.labels[1]: value} if value else {})
            assert total(samples, metric.name, **labels) == counts.get(name, 0), metric.name
    acted = ("guests", "guests_joined", "searches", "searches_reordered", "search_choices", "related", "explored")
    assert all(counts[name] > 0 for name in (*acted, "rule_category", "rule_price_moved", "rule_pinned"))
    assert total(samples, "freshflow_mrr_at_20", of="engine", over="all") > 0


def test_what_is_of_a_partition_is_told_of_its_variant_and_by_rule_where_it_has_rules() -> None:
    calm = Config(job=JobConfig(partitions=4), variant=VariantConfig("calm"), refresh=RefreshConfig(interval_s=0))
    bold = Config(job=JobConfig(partitions=4), variant=VariantConfig("bold"), rules=RulesConfig(blocked=("i",)))
    progress = JobStats()
    for partition in range(4):
        report = Report(partition, 0, {"events": 10, "rule_blocked": 3}, {"hr20": 0.5})
        progress.record_output(PartitionOutput(0, [], report, []), 10)
    samples = collected(progress, Variants([calm, bold]))
    assert total(samples, "freshflow_training_examples_total", variant="calm") == 20
    assert total(samples, "freshflow_hit_rate_at_20", variant="bold", partition="3") == 0.5
    assert total(samples, "freshflow_refresh_max_share", variant="calm") == 0
    assert total(samples, "freshflow_refresh_max_share", variant="bold") > 0
    removed = samples["freshflow_rule_removed_total"]
    assert {dict(labels)["variant"] for labels in removed} == {"bold"}
    assert total(samples, "freshflow_rule_removed_total", rule="blocked") == 6
    assert removed[("partition", "2"), ("rule", "fresh"), ("variant", "bold")] == 0
    without = collected(progress, Variants([Config(job=JobConfig(partitions=4))]))
    assert {name for labels in without["freshflow_training_examples_total"] for name, _ in labels} == {"partition"}


@pytest.mark.parametrize("page", [PAGE, RUNBOOK])
def test_a_page_names_only_metrics_there_are(page: Path) -> None:
    ends = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
    samples = {metric.name + end for metric in metric_specs().values() for end in ("", *ends.get(metric.type, ()))}
    asked = set(re.findall(r"\bfreshflow_[a-z0-9_]+", page.read_text("utf-8")))
    assert asked
    assert asked <= samples


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_the_rules_of_the_runbook(tmp_path: Path) -> None:
    rules = re.search(r"```yaml\n(groups:.*?)```", RUNBOOK.read_text("utf-8"), re.DOTALL)
    assert rules is not None
    (tmp_path / "rules.yaml").write_text(rules[1])
    done = run(["promtool", "check", "rules", "rules.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


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
