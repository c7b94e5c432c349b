"""A topic of a job, asked about: settings, rights, and what its latest records say of the brokers' clocks."""

from collections.abc import Callable, Iterator
from enum import Enum

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient

from freshflow.config.schema import Config
from freshflow.io.kafka.admin import TopicSpec, build_topic_specs, find_topic_differences
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url
from freshflow.io.kafka.errors import LOG, error_reason
from freshflow.preflight.findings import Finding, failed, passed

__all__ = ["TopicRole", "check_topic"]

RECORD_TIMEOUT_S = 3.0  # for the latest record of a partition
MAX_CLOCK_SKEW_MS = 2_000  # clocks of machines that keep time are milliseconds apart


class TopicRole(Enum):
    """What a topic is for; the value is its name as `freshflow topics create` makes it."""

    EVENTS = "events"
    LISTS = "recommendations"
    DEAD_LETTERS = "dead-letters"
    METRICS = "metrics"
    RELATED = "related"


def check_topic(
    subject: str, url: str, role: TopicRole, config: Config, processes: int, clock: Callable[[], int]
) -> Iterator[Finding]:
    """Whether a topic is there, is as it should be, and may be used. Raises a `FreshFlowError` where nobody answers."""
    servers, name = parse_kafka_url(url)
    side = "source" if role is TopicRole.EVENTS else "sink"
    options = client_options(servers, config.kafka, "source" if side == "source" else "sink")
    partitions = list_partitions(options, name, config.kafka.timeout_s)
    (spec,) = (topic_spec for topic_spec in build_topic_specs(partitions=1) if topic_spec.name == role.value)
    expected_spec = TopicSpec(name, processes, 1, spec.settings)
    admin = create_client(
        AdminClient, client_options(servers, config.kafka, "admin"), error_cb=lambda e: LOG.debug("%s", e)
    )
    differences = find_topic_differences(admin, expected_spec, len(partitions), config.kafka.timeout_s)
    for difference in differences:
        yield failed(subject, f"{name} {difference}.")
    if not differences:
        yield passed(subject, f"{name} has {len(partitions)} partitions and fitting settings")
    yield _check_rights(subject, admin, name, role, config)
    if role is TopicRole.EVENTS:
        yield _check_clock(subject, servers, name, partitions, config, clock)


def _check_rights(subject: str, admin: AdminClient, name: str, role: TopicRole, config: Config) -> Finding:
    required_operations = [AclOperation.DESCRIBE, AclOperation.READ if role is TopicRole.EVENTS else AclOperation.WRITE]
    try:
        futures = admin.describe_topics(
            TopicCollection([name]), include_authorized_operations=True, request_timeout=config.kafka.timeout_s
        )
        allowed_operations = futures[name].result().authorized_operations
    except KafkaException as error:
        return passed(
            subject, f"{name}: the broker does not tell what rights there are ({error_reason(error.args[0])})"
        )
    if not allowed_operations:
        return passed(subject, f"{name}: the broker does not tell what rights there are")
    missing_operations = [
        operation.name
        for operation in required_operations
        if operation not in allowed_operations and AclOperation.ALL not in allowed_operations
    ]
    if missing_operations:
        return failed(
            subject,
            f"{name}: this user lacks the right to {' and '.join(missing_operations)}: grant it, or check sasl.*.",
        )
    return passed(subject, f"{name}: this user may {' and '.join(operation.name for operation in required_operations)}")


def _check_clock(
    subject: str, servers: str, name: str, partitions: list[int], config: Config, clock: Callable[[], int]
) -> Finding:
    """Read the latest record of each partition: none can be of later than now."""
    options = client_options(servers, config.kafka, "source") | {"enable.partition.eof": True}
    consumer = create_client(Consumer, options, error_cb=lambda error: LOG.debug("%s", error))
    latest_ms: int | None = None
    try:
        for partition in partitions:
            topic_partition = TopicPartition(name, partition)
            low, high = consumer.get_watermark_offsets(topic_partition, timeout=config.kafka.timeout_s)
            if high <= low:
                continue
            consumer.assign([TopicPartition(name, partition, high - 1)])
            message = consumer.poll(RECORD_TIMEOUT_S)
            if message is not None and message.error() is None:
                latest_ms = max(latest_ms or 0, message.timestamp()[1])
    except KafkaException as error:
        return failed(
            subject, f"{name} cannot be read: {error_reason(error.args[0])}; check the rights of this user and [kafka]."
        )
    finally:
        consumer.close()
    if latest_ms is None:
        return passed(subject, f"{name}: no record was found to compare clocks with")
    ahead_ms = latest_ms - clock()
    if ahead_ms > MAX_CLOCK_SKEW_MS:
        return failed(
            subject,
            f"{name}: its latest record is dated {ahead_ms / 1000:,.0f} s after the time of this machine: set the "
            "clocks (NTP) of this machine, the brokers and who writes the topic.",
        )
    return passed(
        subject, f"{name}: its latest record is {max(0, -ahead_ms) / 1000:,.0f} s old by the clock of this machine"
    )
