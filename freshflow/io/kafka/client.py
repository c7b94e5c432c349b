"""Clients of Kafka: addresses, librdkafka's options, and a first request to the cluster.

librdkafka waits for a broker for ever. So the cluster is asked once, with a time limit, before anything starts;
afterwards an outage is waited out (see `freshflow.io.kafka.errors`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException

from freshflow.config.schema import KafkaConfig
from freshflow.errors import BrokerError, ConfigError, InputError
from freshflow.io.kafka.errors import LOG, error_reason, unreachable_error

Option = str | int | float | bool
Side = Literal["source", "sink", "admin"]
Client = TypeVar("Client")

_HOST_PATTERN = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"
_SERVERS_PATTERN = re.compile(rf"kafka://({_HOST_PATTERN}(?:,{_HOST_PATTERN})*)/?")
_URL_PATTERN = re.compile(rf"kafka://({_HOST_PATTERN}(?:,{_HOST_PATTERN})*)/([A-Za-z0-9._-]{{1,249}})")

# With other values, a snapshot would no longer match the records read and written.
_RESERVED_OPTIONS = {
    "auto.commit.enable": "the snapshots of the job keep the offsets",
    "auto.offset.reset": "a lost offset is never skipped silently (see kafka.on_lost)",
    "bootstrap.servers": "the kafka:// address names the servers",
    "enable.auto.commit": "the snapshots of the job keep the offsets",
    "enable.partition.eof": "the source needs it to see the end of a partition",
    "metadata.broker.list": "the kafka:// address names the servers",
    "transactional.id": "the sink does not write in transactions",
}
_DEFAULT_OPTIONS: dict[Side, dict[str, Option]] = {
    "source": {
        "group.id": "freshflow",  # librdkafka wants one; no group is joined and nothing is committed to it
        "queued.max.messages.kbytes": 16_384,  # fetched ahead per partition; librdkafka's 64 MiB add up
        "fetch.queue.backoff.ms": 50,  # librdkafka's 1,000 leaves the small queue above empty for a while
    },
    "sink": {
        "acks": "all",
        "compression.type": "lz4",  # in every build of librdkafka, and the cheapest
        "delivery.report.only.error": True,
        "enable.idempotence": True,
        "linger.ms": 5,
        "message.max.bytes": 2_097_152,  # a dead letter holds an event of 1 MiB in base64
        "partitioner": "murmur2_random",  # as the Java clients, so that other writers agree on partitions
        "queue.buffering.max.kbytes": 65_536,  # librdkafka's 1 GiB would hide that the broker is slow
    },
    "admin": {},
}
_LOG_LEVEL = 2  # critical lines only: errors reach callbacks, and an outage would fill the terminal
_SECRET_PATTERN = re.compile(r"password|key|token|secret|oauth|sasl.*jaas", re.IGNORECASE)
_SECRET_MASK = "[hidden]"


def parse_kafka_url(url: str) -> tuple[str, str]:
    """Split `kafka://host:port[,host:port]/topic` into bootstrap servers and topic; raises `ConfigError`."""
    match = _URL_PATTERN.fullmatch(url)
    if match is None or not _are_ports_valid(match[1]) or match[2] in (".", ".."):
        raise ConfigError(f"{_mask_login(url)} is not the address of a topic; write kafka://host:port/topic.")
    return match[1], match[2]


def parse_kafka_servers(url: str) -> str:
    """Return the bootstrap servers of `kafka://host:port[,host:port]`; raises `ConfigError`."""
    match = _SERVERS_PATTERN.fullmatch(url)
    if match is None or not _are_ports_valid(match[1]):
        raise ConfigError(f"{_mask_login(url)} is not the address of a cluster; write kafka://host:port.")
    return match[1]


def _are_ports_valid(servers: str) -> bool:
    return all(0 < int(server.rpartition(":")[2]) < 65_536 for server in servers.split(","))


def _mask_login(url: str) -> str:
    return re.sub(r"//.*@", f"//{_SECRET_MASK}@", url)


def redact(options: Mapping[str, Any]) -> dict[str, Any]:
    """Copy librdkafka options with every secret masked, for logs."""
    return {key: _SECRET_MASK if _SECRET_PATTERN.search(key) else value for key, value in options.items()}


def client_options(bootstrap: str, config: KafkaConfig, side: Side) -> dict[str, Any]:
    """Merge the options of a client: defaults, `kafka.options`, those of its side, and fixed ones.

    Args:
        bootstrap: The bootstrap servers.
        config: The `kafka` section of the configuration.
        side: The side that the client serves.

    Returns:
        librdkafka's options.

    Raises:
        ConfigError: The configuration sets a fixed option.
    """
    side_options = {"source": config.source, "sink": config.sink, "admin": {}}[side]
    for section, options in (("kafka.options", config.options), (f"kafka.{side}", side_options)):
        for key in sorted(options):
            if key in _RESERVED_OPTIONS:
                raise ConfigError(f"{section} {key!r} cannot be set: {_RESERVED_OPTIONS[key]}; remove it.")
    fixed_options: dict[str, Any] = {"bootstrap.servers": bootstrap}
    if side == "source":
        fixed_options |= {"auto.offset.reset": "error", "enable.auto.commit": False, "enable.partition.eof": True}
    return {
        "client.id": "freshflow",
        "log_level": _LOG_LEVEL,
        **_DEFAULT_OPTIONS[side],
        **config.options,
        **side_options,
        **fixed_options,
    }


def create_client(
    client_type: Callable[..., Client], options: Mapping[str, Any], **callbacks: Callable[..., None]
) -> Client:
    """Create a client of librdkafka.

    Args:
        client_type: `Consumer`, `Producer` or `AdminClient`.
        options: librdkafka's options.
        **callbacks: librdkafka's callbacks by option name.

    Returns:
        The client.

    Raises:
        ConfigError: librdkafka refuses an option, which the error names.
    """
    try:
        return client_type({**options, **callbacks}, logger=LOG)
    except (KafkaException, TypeError, ValueError) as error:
        message = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        for key, value in options.items():
            if _SECRET_PATTERN.search(key) and str(value):
                message = message.replace(str(value), _SECRET_MASK)
        raise ConfigError(
            f"Kafka's client refuses an option of [kafka]: {message.rstrip('.')}; correct or remove it."
        ) from None


def list_partitions(options: Mapping[str, Any], topic: str, timeout_s: float) -> list[int]:
    """Ask the cluster for the partitions of a topic, without creating it.

    Args:
        options: librdkafka's options, with the bootstrap servers.
        topic: The topic's name.
        timeout_s: Time limit in seconds.

    Returns:
        The partition numbers in ascending order.

    Raises:
        BrokerError: No broker answers, or the cluster refuses.
        InputError: The topic does not exist.
    """
    errors: list[KafkaError] = []
    # A consumer for the sink too: a producer's request would create the topic on many clusters.
    client = create_client(Consumer, {"group.id": "freshflow", **options}, error_cb=errors.append)
    try:
        topic_metadata = client.list_topics(topic, timeout=timeout_s).topics[topic]
    except KafkaException as error:
        client.poll(0)  # the causes are in the client's queue
        raise unreachable_error(str(options["bootstrap.servers"]), timeout_s, [error.args[0], *errors]) from None
    finally:
        client.close()
    address = f"at {options['bootstrap.servers']}"
    if topic_metadata.error is not None and topic_metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise InputError(f"The topic {topic} does not exist {address}; create it, e.g. with `freshflow topics create`.")
    if topic_metadata.error is not None and not topic_metadata.partitions:
        raise BrokerError(f"The topic {topic} {address} cannot be used: {error_reason(topic_metadata.error)}.")
    return sorted(topic_metadata.partitions)
