"""What an operator sees of a job on Kafka: its lag, its offsets in a consumer group, and what a check says."""

import re
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, run

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from freshflow.state.offset_publisher import read_stored_offsets

from .brokers import NewTopicFn, Triple, drain, fill

pytestmark = pytest.mark.kafka

LAG = Path(__file__).parents[2] / "deploy" / "lag.py"
Freshflow = Callable[..., CompletedProcess[str]]


def lines(partitions: int) -> list[Triple]:
    shop = shop_lines(ShopConfig(events=200, users=10, items=20, dirty=False))
    return [(n % partitions, None, raw) for n, (_, _, raw) in enumerate(shop)]


def published(broker: str, group: str) -> dict[int, int]:
    admin = AdminClient({"bootstrap.servers": broker})
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=10)
    return {place.partition: place.offset for place in asked[group].result().topic_partitions}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_group_is_told_the_stored_offsets_and_no_job_goes_by_it(
    tmp_path: Path, broker: str, new_topic: NewTopicFn, freshflow: Freshflow, processes: int
) -> None:
    events, group = new_topic(2), new_topic()
    records = lines(2)
    fill(broker, events, records)
    options = f"--input kafka://{broker}/{events} --output lists.jsonl --until-end --processes {processes}".split()
    for folder in ("state", "another"):  # the second starts anew, from the beginning, whatever the group says
        done = freshflow("run", *options, "--recovery", folder, kafka_group=group)
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^events in +{len(records):,} ", done.stderr, re.MULTILINE), done.stderr
    ends = {partition: sum(record[0] == partition for record in records) for partition in (0, 1)}
    assert read_stored_offsets(tmp_path / "state") == {f"{events}/{n:05d}": end for n, end in ends.items()}
    lag = run([sys.executable, LAG, broker, events, str(tmp_path / "state")], capture_output=True, text=True)
    assert {int(line.split()[0]): int(line.split()[1]) for line in lag.stdout.splitlines()[1:]} == ends, lag.stderr
    assert published(broker, group) == ends


def test_without_a_group_nothing_is_published_and_one_without_recovery_is_a_warning(
    broker: str, new_topic: NewTopicFn, freshflow: Freshflow
) -> None:
    events, group = new_topic(), new_topic()
    fill(broker, events, lines(1))
    options = ["--input", f"kafka://{broker}/{events}", "--output", "lists.jsonl", "--until-end", "--quiet"]
    done = freshflow("run", *options, kafka_group=group)
    assert (done.returncode, done.stderr.count("kafka.group needs --recovery")) == (0, 1)
    assert freshflow("run", *options, "--recovery", "state").returncode == 0
    assert published(broker, group) == {}


def test_the_lag_of_each_partition_of_the_input_is_scraped(
    broker: str, new_topic: NewTopicFn, start: Callable[..., object]
) -> None:
    events = new_topic(2)
    fill(broker, events, lines(2))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    options = f"--input kafka://{broker}/{events} --output lists.jsonl --metrics-address {address}".split()
    job = start("freshflow.cli.main", "run", *options, job_epoch_s=0.2)
    expected = [f'freshflow_input_lag_records{{input_partition="{n}"}} 0.0' for n in range(2)]
    said = ""
    while job.poll() is None and not all(line in said for line in expected):  # type: ignore[attr-defined]
        time.sleep(0.3)
        try:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                said = answer.read().decode()
        except OSError:
            continue
    assert all(line in said for line in expected)


def test_a_check_asks_the_broker_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: str, new_topic: NewTopicFn
) -> None:
    monkeypatch.chdir(tmp_path)
    events, fitting, unfit = new_topic(2), new_topic(1, {"cleanup.policy": "compact"}), new_topic(1)
    records = lines(2)
    fill(broker, events, records)
    options = ["check", "--input", f"kafka://{broker}/{events}", "--output"]
    done = CliRunner().invoke(app, [*options, f"kafka://{broker}/{fitting}"])
    assert done.exit_code == 0, done.stdout
    assert f"{events} has 2 partitions and fitting settings" in done.stdout
    assert "its latest record is " in done.stdout
    done = CliRunner().invoke(app, [*options, f"kafka://{broker}/{unfit}", "--processes", "3", "--quiet"])
    assert done.exit_code == 1
    assert f"{unfit} is not compacted: set cleanup.policy=compact" in done.stdout
    assert f"{events} has 2 partitions, not 3" in done.stdout
    done = CliRunner().invoke(app, [*options, f"kafka://{broker}/{unfit}-2", "--quiet"])
    assert f"FAIL output         The topic {unfit}-2 does not exist" in done.stdout
    assert len(drain(broker, events)) == len(records)
    assert drain(broker, fitting) == drain(broker, unfit) == []
