"""A topic of a job, asked about: settings, rights, and what its latest records say of the brokers' clocks."""

from collections.abc import Callable, Iterator
from enum import Enum

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient

from freshflow.config.schema import Config
from freshflow.io.kafka.admin import TopicSpec, shortcomings, topic_specs
from freshflow.io.kafka.client import client_options, connect, parse_kafka_url, partitions_of
from freshflow.io.kafka.errors import LOG, reason
from freshflow.preflight.findings import Finding, bad, good

__all__ = ["Topic", "topic"]

WAIT_S = 3.0  # for the latest record of a partition
SKEW_MS = 2_000  # clocks of machines that keep time are milliseconds apart


class Topic(Enum):
    """What a topic is for; the value is its name as `freshflow topics create` makes it."""

    EVENTS = "events"
    LISTS = "recommendations"
    DEAD_LETTERS = "dead-letters"
    METRICS = "metrics"
    RELATED = "related"


def topic(
    what: str, url: str, kind: Topic, config: Config, processes: int, clock: Callable[[], int]
) -> Iterator[Finding]:
    """Whether a topic is there, is as it should be, and may be used. Raises a `FreshFlowError` where nobody answers."""
    servers, name = parse_kafka_url(url)
    side = "source" if kind is Topic.EVENTS else "sink"
    options = client_options(servers, config.kafka, "source" if side == "source" else "sink")
    partitions = partitions_of(options, name, config.kafka.timeout_s)
    (spec,) = (one for one in topic_specs(partitions=1) if one.name == kind.value)
    asked = TopicSpec(name, processes, 1, spec.settings)
    admin = connect(AdminClient, client_options(servers, config.kafka, "admin"), error_cb=lambda e: LOG.debug("%s", e))
    notes = shortcomings(admin, asked, len(partitions), config.kafka.timeout_s)
    for note in notes:
        yield bad(what, f"{name} {note}.")
    if not notes:
        yield good(what, f"{name} has {len(partitions)} partitions and fitting settings")
    yield _rights(what, admin, name, kind, config)
    if kind is Topic.EVENTS:
        yield _clock(what, servers, name, partitions, config, clock)


def _rights(what: str, admin: AdminClient, name: str, kind: Topic, config: Config) -> Finding:
    wanted = [AclOperation.DESCRIBE, AclOperation.READ if kind is Topic.EVENTS else AclOperation.WRITE]
    try:
        asked = admin.describe_topics(
            TopicCollection([name]), include_authorized_operations=True, request_timeout=config.kafka.timeout_s
        )
        allowed = asked[name].result().authorized_operations
    except KafkaException as error:
        return good(what, f"{name}: the broker does not tell what rights there are ({reason(error.args[0])})")
    if not allowed:
        return good(what, f"{name}: the broker does not tell what rights there are")
    missing = [operation.name for operation in wanted if operation not in allowed and AclOperation.ALL not in allowed]
    if missing:
        return bad(what, f"{name}: this user lacks the right to {' and '.join(missing)}: grant it, or check sasl.*.")
    return good(what, f"{name}: this user may {' and '.join(operation.name for operation in wanted)}")


def _clock(
    what: str, servers: str, name: str, partitions: list[int], config: Config, clock: Callable[[], int]
) -> Finding:
    """Read the latest record of each partition: none can be of later than now."""
    options = client_options(servers, config.kafka, "source") | {"enable.partition.eof": True}
    consumer = connect(Consumer, options, error_cb=lambda error: LOG.debug("%s", error))
    latest_ms: int | None = None
    try:
        for partition in partitions:
            place = TopicPartition(name, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=config.kafka.timeout_s)
            if high <= low:
                continue
            consumer.assign([TopicPartition(name, partition, high - 1)])
            message = consumer.poll(WAIT_S)
            if message is not None and message.error() is None:
                latest_ms = max(latest_ms or 0, message.timestamp()[1])
    except KafkaException as error:
        return bad(what, f"{name} cannot be read: {reason(error.args[0])}; check the rights of this user and [kafka].")
    finally:
        consumer.close()
    if latest_ms is None:
        return good(what, f"{name}: no record was found to compare clocks with")
    ahead_ms = latest_ms - clock()
    if ahead_ms > SKEW_MS:
        return bad(
            what,
            f"{name}: its latest record is dated {ahead_ms / 1000:,.0f} s after the time of this machine: set the "
            "clocks (NTP) of this machine, the brokers and who writes the topic.",
        )
    return good(
        what, f"{name}: its latest record is {max(0, -ahead_ms) / 1000:,.0f} s old by the clock of this machine"
    )
