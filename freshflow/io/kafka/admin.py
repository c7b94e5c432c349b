"""The topics of a job: what each is for, the settings that follow from it, and creating them."""

import time
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from freshflow.config.schema import KafkaConfig
from freshflow.errors import BrokerError
from freshflow.io.kafka.client import client_options, connect
from freshflow.io.kafka.errors import reason, unreachable

__all__ = ["TopicReport", "TopicSpec", "create_topics", "shortcomings", "topic_specs"]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# A log with one list per user: readers see each change, and who starts from the beginning gets the latest
# ones.
COMPACTED = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": "60000",  # a reader up to a minute behind sees every change
    "max.compaction.lag.ms": str(DAY_MS),  # a forgotten user's older lists are gone within a day
    "delete.retention.ms": str(7 * DAY_MS),  # a reader away for a week still learns who was forgotten
    "segment.ms": str(HOUR_MS),  # the segment being written is never compacted
}
WEEK = {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)}
DEAD_LETTERS = {
    "cleanup.policy": "delete",
    "retention.ms": str(30 * DAY_MS),
    "max.message.bytes": "2097152",  # an event of 1 MiB in base64, and the reason
}
# What a broker does where a topic does not say.
_BROKER_DEFAULTS = {"cleanup.policy": "delete", "max.message.bytes": "1048588"}


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic as it should be."""

    name: str
    partitions: int
    replication: int
    settings: dict[str, str]


class TopicReport(msgspec.Struct, frozen=True):
    """What became of a topic; `note` says how one that was there differs in a way that matters."""

    name: str
    status: Literal["created", "exists"]
    partitions: int
    note: str = ""


def topic_specs(prefix: str = "", partitions: int = 8, replication: int = 1) -> list[TopicSpec]:
    """List the five topics of a job; `partitions` is of those whose load grows with users and items."""
    topics = {
        "events": (partitions, WEEK),
        "recommendations": (partitions, COMPACTED),
        "metrics": (1, WEEK),
        "dead-letters": (1, DEAD_LETTERS),
        "related": (partitions, COMPACTED),
    }
    return [TopicSpec(prefix + name, count, replication, settings) for name, (count, settings) in topics.items()]


def create_topics(bootstrap: str, config: KafkaConfig, specs: Iterable[TopicSpec]) -> list[TopicReport]:
    """Create the topics that are missing, and look at those that are there; nothing existing is changed.

    Raises `BrokerError` where no broker answers within the time limit or a topic is refused.
    """
    trouble: list[KafkaError] = []
    admin = connect(AdminClient, client_options(bootstrap, config, "admin"), error_cb=trouble.append)
    try:
        counts = {
            name: len(topic.partitions) for name, topic in admin.list_topics(timeout=config.timeout_s).topics.items()
        }
    except KafkaException as error:
        admin.poll(0)  # the reasons wait in the client's queue
        raise unreachable(bootstrap, config.timeout_s, [error.args[0], *trouble]) from None
    return [_create(admin, spec, counts.get(spec.name), config.timeout_s) for spec in specs]


def _create(admin: Any, spec: TopicSpec, partitions: int | None, timeout_s: float) -> TopicReport:
    if partitions is not None:
        return _found(admin, spec, partitions, timeout_s)
    topic = NewTopic(spec.name, spec.partitions, spec.replication, config=spec.settings)
    try:
        admin.create_topics([topic], operation_timeout=timeout_s, request_timeout=timeout_s)[spec.name].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:  # made since we asked, by someone else
            return _found(admin, spec, _await(admin, spec.name, timeout_s), timeout_s)
        raise BrokerError(
            f"The topic {spec.name} was not created: {reason(error.args[0])}; "
            "check --replication, the topic's name and the rights of this user."
        ) from None
    _await(admin, spec.name, timeout_s)
    return TopicReport(spec.name, "created", spec.partitions)


def _found(admin: Any, spec: TopicSpec, partitions: int, timeout_s: float) -> TopicReport:
    note = "; ".join(_differences(spec, partitions, _settings(admin, spec.name, timeout_s)))
    return TopicReport(spec.name, "exists", partitions, note)


def shortcomings(admin: Any, spec: TopicSpec, partitions: int, timeout_s: float) -> list[str]:
    """How a topic that is there, with so many partitions, differs from its spec in a way that matters.

    Raises `BrokerError` where its settings cannot be read.
    """
    return _differences(spec, partitions, _settings(admin, spec.name, timeout_s))


def _await(admin: Any, topic: str, timeout_s: float) -> int:
    """Wait until the cluster's metadata, which lags a creation, has the topic; its number of partitions."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        known = admin.list_topics(timeout=timeout_s).topics.get(topic)
        if known is not None and known.error is None and known.partitions:
            return len(known.partitions)
        time.sleep(0.1)
    raise BrokerError(f"The topic {topic} was created but did not appear within {timeout_s:g} s; look at the brokers.")


def _settings(admin: Any, topic: str, timeout_s: float) -> dict[str, str]:
    asked = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)], request_timeout=timeout_s)
    try:
        entries = next(iter(asked.values())).result()
    except KafkaException as error:
        raise BrokerError(
            f"The settings of the topic {topic} cannot be read: {reason(error.args[0])}; check the rights of this user."
        ) from None
    return {name: entry.value for name, entry in entries.items() if entry.value is not None}


def _differences(spec: TopicSpec, partitions: int, settings: dict[str, str]) -> list[str]:
    """Say where an existing topic would lose or keep what its spec would not."""
    found = _BROKER_DEFAULTS | settings
    notes = []
    if partitions < spec.partitions:
        notes.append(f"has {partitions} partitions, not {spec.partitions}")
    compacted = "compact" in found["cleanup.policy"]
    if spec.settings["cleanup.policy"] == "compact" and not compacted:
        notes.append("is not compacted: set cleanup.policy=compact, or lists of quiet users are deleted")
    if spec.settings["cleanup.policy"] == "compact" and compacted and "delete" in found["cleanup.policy"]:
        notes.append("is compacted but also deletes: set cleanup.policy=compact, or lists of quiet users are deleted")
    if spec.settings["cleanup.policy"] == "delete" and compacted:
        notes.append("is compacted: set cleanup.policy=delete, or records without a key are refused")
    needed = int(spec.settings.get("max.message.bytes", 0))
    if int(found["max.message.bytes"]) < needed:
        notes.append(f"takes records of {found['max.message.bytes']} bytes: set max.message.bytes={needed}")
    return notes
