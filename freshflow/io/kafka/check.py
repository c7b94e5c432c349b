"""Check of a topic before a job starts: settings, rights, and clocks as the latest records show them."""

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient

from freshflow.config.schema import Config
from freshflow.io.findings import Finding, failed, passed
from freshflow.io.kafka.admin import TopicSpec, build_topic_specs, find_topic_differences
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url
from freshflow.io.kafka.errors import LOG, error_reason
from freshflow.io.scheme import CheckOptions

RECORD_TIMEOUT_S = 3.0  # for the latest record of a partition
MAX_CLOCK_SKEW_MS = 2_000  # synchronised clocks are milliseconds apart


def check_topic(url: str, config: Config, options: CheckOptions) -> Iterator[Finding]:
    """Yield findings on a topic: its settings, the rights of this user, and of an input the brokers' clocks.

    Args:
        url: The topic.
        config: The job's configuration.
        options: The topic's role; an input needs a partition for each process.

    Raises:
        FreshFlowError: The topic does not exist, or no broker answers.
    """
    servers, name = parse_kafka_url(url)
    subject = options.subject
    client = client_options(servers, config.kafka, "source" if options.is_input else "sink")
    partitions = list_partitions(client, name, config.kafka.timeout_s)
    (spec,) = (topic_spec for topic_spec in build_topic_specs(partitions=1) if topic_spec.name == options.role.value)
    expected_spec = TopicSpec(name, options.n_processes if options.is_input else 1, 1, spec.settings)
    admin = create_client(
        AdminClient, client_options(servers, config.kafka, "admin"), error_cb=lambda error: LOG.debug("%s", error)
    )
    differences = find_topic_differences(admin, expected_spec, len(partitions), config.kafka.timeout_s)
    for difference in differences:
        yield failed(subject, f"{name} {difference}.")
    if not differences:
        yield passed(subject, f"{name} has {len(partitions)} partitions and fitting settings")
    yield _check_rights(admin, name, config, options)
    if options.is_input:
        yield _check_clock(servers, name, partitions, config, options)


def _check_rights(admin: AdminClient, name: str, config: Config, options: CheckOptions) -> Finding:
    subject = options.subject
    required_operations = [AclOperation.DESCRIBE, AclOperation.READ if options.is_input else AclOperation.WRITE]
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


def _check_clock(servers: str, name: str, partitions: list[int], config: Config, options: CheckOptions) -> Finding:
    """Compare the latest record of each partition with the clock: none can be dated later than now."""
    subject = options.subject
    client = client_options(servers, config.kafka, "source") | {"enable.partition.eof": True}
    consumer = create_client(Consumer, client, error_cb=lambda error: LOG.debug("%s", error))
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
    ahead_ms = latest_ms - options.clock()
    if ahead_ms > MAX_CLOCK_SKEW_MS:
        return failed(
            subject,
            f"{name}: its latest record is dated {ahead_ms / 1000:,.0f} s after the time of this machine: set the "
            "clocks (NTP) of this machine, the brokers and the writers of the topic.",
        )
    return passed(
        subject, f"{name}: its latest record is {max(0, -ahead_ms) / 1000:,.0f} s old by the clock of this machine"
    )
