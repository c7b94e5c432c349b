"""Settings of operation: metrics, privacy, Kafka, logs, variants, serving and plugins."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from freshflow.config.section import PositiveInt, PositiveSeconds, Section

KafkaOptions = dict[str, str | int | float | bool]


class MetricsConfig(Section, frozen=True):
    """Reports of partitions, and the Prometheus endpoint."""

    report_every_events: Annotated[
        PositiveInt, Meta(description="Events between two reports of a partition on its quality and freshness.")
    ] = 10_000
    address: Annotated[
        str,
        Meta(
            description="Address of the Prometheus endpoint, as --metrics-address. It has no access control: "
            "127.0.0.1:9464 is this machine only, 0.0.0.0:9464 every network of this machine. See the page on metrics.",
            extra={"allowed": '"host:port", or "" for none'},
        ),
    ] = ""


class PrivacyConfig(Section, frozen=True):
    """Pseudonyms of users, and their key."""

    pseudonymise: Annotated[
        bool,
        Meta(
            description="Replace user ids by pseudonyms, derived from the key below, when events are read. Lists, "
            "dead letters, snapshots and logs then hold no user id; see the page on privacy. A change needs a fresh "
            "start."
        ),
    ] = False
    key: Annotated[
        str,
        Meta(
            description="Key of the pseudonyms. Keep it out of this file: set FRESHFLOW_PRIVACY_KEY, or write "
            '"${NAME}". The key reveals the pseudonym of a known user. Another key turns all users into new ones.',
            extra={"allowed": "text, at least 32 characters"},
        ),
    ] = ""


class KafkaConfig(Section, frozen=True):
    """Connection to the brokers."""

    start: Annotated[
        Literal["earliest", "latest"],
        Meta(
            description="Position in the topic of a job without a snapshot; with one it resumes there. A partition "
            "added to the topic since is read from its beginning."
        ),
    ] = "earliest"
    on_lost: Annotated[
        Literal["stop", "earliest"],
        Meta(
            description="Reaction when retention has deleted records that were not read yet. `earliest` continues "
            "with the first record left, and logs the missing offsets."
        ),
    ] = "stop"
    timeout_s: Annotated[PositiveSeconds, Meta(description="Seconds to wait for a broker before the job gives up.")] = (
        10.0
    )
    options: Annotated[
        KafkaOptions,
        Meta(
            description="Options of librdkafka for source and sink. "
            "https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md lists them.",
            examples=[
                'bootstrap.servers = "localhost:9092"',
                'security.protocol = "SASL_SSL"',
                'sasl.password = "${KAFKA_PASSWORD}"',
            ],
        ),
    ] = msgspec.field(default_factory=dict)
    source: Annotated[
        KafkaOptions,
        Meta(description="Options of librdkafka for the source only.", examples=["fetch.message.max.bytes = 4194304"]),
    ] = msgspec.field(default_factory=dict)
    sink: Annotated[
        KafkaOptions, Meta(description="Options of librdkafka for the sink only.", examples=["linger.ms = 5"])
    ] = msgspec.field(default_factory=dict)
    group: Annotated[
        str,
        Meta(
            description="Consumer group under which the job publishes the offsets of its snapshots, for tools that "
            "watch the lag of groups. It needs --recovery. The job never resumes from it; no two jobs may share one.",
            extra={"allowed": 'text, or "" for none'},
        ),
    ] = ""


class VariantConfig(Section, frozen=True):
    """Name of a configuration in an A/B test."""

    name: Annotated[
        str,
        Meta(
            description="Name in lists and reports, to compare configurations. In a job with --variants the default "
            "is the name of each variant's file. See the page on variants.",
            extra={"allowed": "at most 32 letters, digits, - and _"},
        ),
    ] = ""


class LogConfig(Section, frozen=True):
    """Format and content of the log."""

    format: Annotated[
        Literal["text", "json"],
        Meta(
            description="Format of the log on standard error, as --log-format. `json` is one object a line; the last "
            'line of a failed job is its error, beginning "freshflow:", in either format.'
        ),
    ] = "text"
    quotes: Annotated[bool, Meta(description="Quote rejected records in the log. They may name users.")] = False


class ServeConfig(Section, frozen=True):
    """HTTP server of `freshflow serve`; see the page on serving."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address to listen on. There is no login: 127.0.0.1 is this machine only, 0.0.0.0 is every "
            "host that can reach it.",
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65_535, description="Port to listen on. 0 takes a free port, and prints it.")
    ] = 8080
    store: Annotated[
        str,
        Meta(
            min_length=1,
            description="Store of the lists: the path of an SQLite file, or redis://host:6379/0 (a password as "
            '"${NAME}").',
        ),
    ] = "freshflow-serve.sqlite"
    resync_after_s: Annotated[
        PositiveSeconds,
        Meta(
            description="Seconds after which a server that was stopped reads the topic from its beginning. By then a "
            "tombstone may be gone unseen: keep it well below the topic's delete.retention.ms, by default a day."
        ),
    ] = 43_200.0


class PluginsConfig(Section, frozen=True):
    """Modules of your own; see the page on extending."""

    modules: Annotated[
        tuple[str, ...],
        Meta(
            description="Modules that are imported before the configuration is checked, in every process of the job. "
            "They register input formats, rules, features of the ranker and sinks. They must be installed or in "
            "PYTHONPATH.",
        ),
    ] = ()
