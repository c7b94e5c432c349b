"""The topics of a job: their purpose and settings, and their creation."""

import time
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from freshflow.config.schema import KafkaConfig
from freshflow.errors import BrokerError
from freshflow.io.kafka.client import client_options, create_client
from freshflow.io.kafka.errors import error_reason, unreachable_error

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

# A log with one list per user: readers see each change, and a reader that starts from the beginning gets the latest.
COMPACTED_SETTINGS = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": "60000",  # a reader up to a minute behind sees every change
    "max.compaction.lag.ms": str(_DAY_MS),  # a forgotten user's older lists are gone within a day
    "delete.retention.ms": str(7 * _DAY_MS),  # a reader away for a week still learns who was forgotten
    "segment.ms": str(_HOUR_MS),  # the segment being written is never compacted
}
WEEK_RETENTION_SETTINGS = {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)}
DEAD_LETTER_SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": str(30 * _DAY_MS),
    "max.message.bytes": "2097152",  # an event of 1 MiB in base64, and the reason
}
# A broker's values for settings that a topic leaves out.
_BROKER_DEFAULTS = {"cleanup.policy": "delete", "max.message.bytes": "1048588"}


class TopicSpec(msgspec.Struct, frozen=True):
    """The expected state of a topic."""

    name: str
    partitions: int
    replication: int
    settings: dict[str, str]


class TopicReport(msgspec.Struct, frozen=True):
    """Result of creating a topic; `note` gives the relevant differences of one that existed."""

    name: str
    status: Literal["created", "exists"]
    partitions: int
    note: str = ""


def build_topic_specs(prefix: str = "", partitions: int = 8, replication: int = 1) -> list[TopicSpec]:
    """Return the five topics of a job.

    Args:
        prefix: Text before each topic's name.
        partitions: Partitions of the topics whose load grows with users and items; the others have one.
        replication: Copies of each partition.
    """
    topics = {
        "events": (partitions, WEEK_RETENTION_SETTINGS),
        "recommendations": (partitions, COMPACTED_SETTINGS),
        "metrics": (1, WEEK_RETENTION_SETTINGS),
        "dead-letters": (1, DEAD_LETTER_SETTINGS),
        "related": (partitions, COMPACTED_SETTINGS),
    }
    return [TopicSpec(prefix + name, count, replication, settings) for name, (count, settings) in topics.items()]


def create_topics(bootstrap: str, config: KafkaConfig, specs: Iterable[TopicSpec]) -> list[TopicReport]:
    """Create the missing topics and compare the existing ones, which are not changed.

    Args:
        bootstrap: The bootstrap servers.
        config: The `kafka` section of the configuration.
        specs: The topics.

    Returns:
        A report for each topic.

    Raises:
        BrokerError: No broker answers within the time limit, or refuses a topic.
    """
    errors: list[KafkaError] = []
    admin = create_client(AdminClient, client_options(bootstrap, config, "admin"), error_cb=errors.append)
    try:
        counts = {
            name: len(topic.partitions) for name, topic in admin.list_topics(timeout=config.timeout_s).topics.items()
        }
    except KafkaException as error:
        admin.poll(0)  # the causes are in the client's queue
        raise unreachable_error(bootstrap, config.timeout_s, [error.args[0], *errors]) from None
    return [_create(admin, spec, counts.get(spec.name), config.timeout_s) for spec in specs]


def _create(admin: Any, spec: TopicSpec, partitions: int | None, timeout_s: float) -> TopicReport:
    if partitions is not None:
        return _report_existing(admin, spec, partitions, timeout_s)
    topic = NewTopic(spec.name, spec.partitions, spec.replication, config=spec.settings)
    try:
        admin.create_topics([topic], operation_timeout=timeout_s, request_timeout=timeout_s)[spec.name].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:  # created by another client since the listing
            return _report_existing(admin, spec, _wait_for_topic(admin, spec.name, timeout_s), timeout_s)
        raise BrokerError(
            f"The topic {spec.name} was not created: {error_reason(error.args[0])}; "
            "check --replication, the topic's name and the rights of this user."
        ) from None
    _wait_for_topic(admin, spec.name, timeout_s)
    return TopicReport(spec.name, "created", spec.partitions)


def _report_existing(admin: Any, spec: TopicSpec, partitions: int, timeout_s: float) -> TopicReport:
    note = "; ".join(_compare_to_spec(spec, partitions, _fetch_settings(admin, spec.name, timeout_s)))
    return TopicReport(spec.name, "exists", partitions, note)


def find_topic_differences(admin: Any, spec: TopicSpec, partitions: int, timeout_s: float) -> list[str]:
    """Compare an existing topic with its specification.

    Args:
        admin: A client of the cluster.
        spec: The expected topic.
        partitions: Number of partitions of the existing topic.
        timeout_s: Time limit in seconds.

    Returns:
        One clause for each relevant difference, with the remedy.

    Raises:
        BrokerError: The topic's settings cannot be read.
    """
    return _compare_to_spec(spec, partitions, _fetch_settings(admin, spec.name, timeout_s))


def _wait_for_topic(admin: Any, topic: str, timeout_s: float) -> int:
    """Wait until the cluster's metadata has a new topic; return its number of partitions."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        topic_metadata = admin.list_topics(timeout=timeout_s).topics.get(topic)
        if topic_metadata is not None and topic_metadata.error is None and topic_metadata.partitions:
            return len(topic_metadata.partitions)
        time.sleep(0.1)
    raise BrokerError(f"The topic {topic} was created but did not appear within {timeout_s:g} s; check the brokers.")


def _fetch_settings(admin: Any, topic: str, timeout_s: float) -> dict[str, str]:
    futures = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)], request_timeout=timeout_s)
    try:
        entries = next(iter(futures.values())).result()
    except KafkaException as error:
        raise BrokerError(
            f"The settings of the topic {topic} cannot be read: {error_reason(error.args[0])}; "
            "check the rights of this user."
        ) from None
    return {name: entry.value for name, entry in entries.items() if entry.value is not None}


def _compare_to_spec(spec: TopicSpec, partitions: int, settings: dict[str, str]) -> list[str]:
    """Return the differences that would lose records or keep them for too long."""
    effective_settings = _BROKER_DEFAULTS | settings
    differences = []
    if partitions < spec.partitions:
        differences.append(f"has {partitions} partitions, not {spec.partitions}")
    is_compacted = "compact" in effective_settings["cleanup.policy"]
    if spec.settings["cleanup.policy"] == "compact" and not is_compacted:
        differences.append("is not compacted: set cleanup.policy=compact, or lists of quiet users are deleted")
    if (
        spec.settings["cleanup.policy"] == "compact"
        and is_compacted
        and "delete" in effective_settings["cleanup.policy"]
    ):
        differences.append(
            "is compacted but also deletes: set cleanup.policy=compact, or lists of quiet users are deleted"
        )
    if spec.settings["cleanup.policy"] == "delete" and is_compacted:
        differences.append("is compacted: set cleanup.policy=delete, or records without a key are refused")
    required_bytes = int(spec.settings.get("max.message.bytes", 0))
    if int(effective_settings["max.message.bytes"]) < required_bytes:
        differences.append(
            f"takes records of {effective_settings['max.message.bytes']} bytes: set max.message.bytes={required_bytes}"
        )
    return differences
