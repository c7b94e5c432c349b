"""Creating a job's topics, over a real connection."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource
from typer.testing import CliRunner

from freshflow.cli.topics import app
from freshflow.config.schema import KafkaConfig
from freshflow.errors import BrokerError, ConfigError
from freshflow.io.kafka.admin import TopicSpec, build_topic_specs, create_topics

from .brokers import make_topic

pytestmark = pytest.mark.kafka

NAMES = ["events", "recommendations", "metrics", "dead-letters", "related"]


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4().hex[:8]}."


def settings_of(address: str, topic: str) -> dict[str, str]:
    admin = AdminClient({"bootstrap.servers": address})
    asked = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)])
    return {name: entry.value for name, entry in next(iter(asked.values())).result(30).items()}


def test_the_five_topics_are_created_as_specified(broker: str, prefix: str) -> None:
    reports = create_topics(broker, KafkaConfig(), build_topic_specs(prefix, partitions=3))
    assert [(report.name, report.status, report.note) for report in reports] == [
        (prefix + name, "created", "") for name in NAMES
    ]
    found = AdminClient({"bootstrap.servers": broker}).list_topics(timeout=10).topics
    assert {name: len(found[prefix + name].partitions) for name in NAMES} == {
        "events": 3,
        "recommendations": 3,
        "metrics": 1,
        "dead-letters": 1,
        "related": 3,
    }
    for spec in build_topic_specs(prefix):
        assert spec.settings.items() <= settings_of(broker, spec.name).items()


def test_topics_that_two_create_at_once_are_reported_by_both_and_refused_by_neither(broker: str, prefix: str) -> None:
    specs = build_topic_specs(prefix, partitions=2)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(create_topics, broker, KafkaConfig(), specs) for _ in range(2)]
    statuses = [{report.name: report.status for report in one.result()} for one in both]
    for spec in specs:
        assert {"created"} <= {one[spec.name] for one in statuses} <= {"created", "exists"}
        assert [one[spec.name] for one in statuses].count("created") == 1


def test_creating_twice_reports_what_is_there(broker: str, prefix: str) -> None:
    create_topics(broker, KafkaConfig(), build_topic_specs(prefix, partitions=2))
    again = create_topics(broker, KafkaConfig(), build_topic_specs(prefix, partitions=2))
    assert {(report.status, report.note) for report in again} == {("exists", "")}


def test_an_existing_topic_that_would_lose_something_is_noted(broker: str, prefix: str) -> None:
    make_topic(broker, f"{prefix}recommendations", 2)
    make_topic(broker, f"{prefix}events", 1, {"cleanup.policy": "compact"})
    make_topic(broker, f"{prefix}dead-letters", 1)
    make_topic(broker, f"{prefix}related", 9, {"cleanup.policy": "compact,delete"})
    notes = {
        r.name.removeprefix(prefix): r.note for r in create_topics(broker, KafkaConfig(), build_topic_specs(prefix))
    }
    assert notes == {
        "events": "has 1 partitions, not 8; "
        "is compacted: set cleanup.policy=delete, or records without a key are refused",
        "recommendations": "has 2 partitions, not 8; "
        "is not compacted: set cleanup.policy=compact, or lists of quiet users are deleted",
        "metrics": "",
        "dead-letters": "takes records of 1048588 bytes: set max.message.bytes=2097152",
        "related": "is compacted but also deletes: set cleanup.policy=compact, or lists of quiet users are deleted",
    }


def test_a_closed_port_is_told_in_a_sentence(closed_port: str) -> None:
    with pytest.raises(BrokerError, match=f"No Kafka broker answered at {closed_port} within 1 s"):
        create_topics(closed_port, KafkaConfig(timeout_s=1.0), build_topic_specs())


def test_a_topic_the_broker_refuses_is_named(apache_kafka: str, prefix: str) -> None:
    spec = TopicSpec(f"{prefix}copies", 1, 3, {"cleanup.policy": "delete"})
    with pytest.raises(BrokerError, match=f"The topic {spec.name} was not created: .*; check --replication"):
        create_topics(apache_kafka, KafkaConfig(), [spec])


def test_the_command_prints_a_line_per_topic(broker: str, prefix: str) -> None:
    command = ["create", f"kafka://{broker}", "--prefix", prefix, "--partitions", "2"]
    first = CliRunner().invoke(app, command, catch_exceptions=False)
    assert first.exit_code == 0
    lines = [line.split() for line in first.stdout.splitlines()]
    assert [line[:3] for line in lines[1:]] == [
        [prefix + name, "created", "1" if name in ("metrics", "dead-letters") else "2"] for name in NAMES
    ]
    second = CliRunner().invoke(app, command, catch_exceptions=False)
    assert second.stdout.count("exists") == 5


def test_the_command_refuses_a_malformed_address() -> None:
    result = CliRunner().invoke(app, ["create", "localhost:9092"])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == "localhost:9092 is not the address of a cluster; write kafka://host:port."
