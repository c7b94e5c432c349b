"""Publish offsets to a consumer group without members, for tools that watch the lag of groups."""

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from freshflow.config.schema import Config, KafkaConfig
from freshflow.io.kafka.client import client_options, create_client, parse_kafka_url
from freshflow.io.kafka.errors import LOG, error_reason


def open_consumer_group(url: str, config: Config) -> "ConsumerGroup | None":
    """Open the group `kafka.group` for a topic; None if it is not set."""
    return ConsumerGroup(url, config.kafka) if config.kafka.group else None


class ConsumerGroup:
    """The group `config.group` for the topic of `url`. A failure to write is logged once, and the write is retried."""

    def __init__(self, url: str, config: KafkaConfig) -> None:
        servers, self._topic = parse_kafka_url(url)
        self._group = config.group
        self._timeout_s = config.timeout_s
        options = client_options(servers, config, "admin")
        self._admin = create_client(AdminClient, options, error_cb=lambda error: LOG.debug("%s", error))
        self._last_offsets: dict[str, int] = {}
        self._is_failing = False

    def publish_offsets(self, offsets: dict[str, int]) -> None:
        """Write the next offsets to read, by `topic/partition`, if they have changed."""
        partitions = [
            TopicPartition(self._topic, int(key.rpartition("/")[2]), offset)
            for key, offset in sorted(offsets.items())
            if key.rpartition("/")[0] == self._topic
        ]
        if not partitions or offsets == self._last_offsets:
            return
        request = [ConsumerGroupTopicPartitions(self._group, partitions)]
        try:
            futures = self._admin.alter_consumer_group_offsets(request, request_timeout=self._timeout_s)
            errors = [
                partition.error for partition in futures[self._group].result().topic_partitions if partition.error
            ]
        except KafkaException as error:
            errors = [error.args[0]]
        if not errors:
            self._last_offsets, self._is_failing = dict(offsets), False
        elif not self._is_failing:
            self._is_failing = True
            LOG.warning("Offsets cannot be published to the group %s: %s.", self._group, error_reason(errors[0]))
