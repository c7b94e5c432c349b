"""Writing offsets to a consumer group that nobody is a member of."""

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from freshflow.config.schema import KafkaConfig
from freshflow.io.kafka.client import client_options, connect, parse_kafka_url
from freshflow.io.kafka.errors import LOG, reason

__all__ = ["ConsumerGroup"]


class ConsumerGroup:
    """The group `config.group`, for the topic of `url`. What cannot be written is logged once, and tried again."""

    def __init__(self, url: str, config: KafkaConfig) -> None:
        servers, self._topic = parse_kafka_url(url)
        self._group = config.group
        self._timeout_s = config.timeout_s
        options = client_options(servers, config, "admin")
        self._admin = connect(AdminClient, options, error_cb=lambda error: LOG.debug("%s", error))
        self._published: dict[str, int] = {}
        self._fails = False

    def publish(self, offsets: dict[str, int]) -> None:
        """Write the next offsets to read, by `topic/partition`, if they are others than before."""
        places = [
            TopicPartition(self._topic, int(key.rpartition("/")[2]), offset)
            for key, offset in sorted(offsets.items())
            if key.rpartition("/")[0] == self._topic
        ]
        if not places or offsets == self._published:
            return
        request = [ConsumerGroupTopicPartitions(self._group, places)]
        try:
            asked = self._admin.alter_consumer_group_offsets(request, request_timeout=self._timeout_s)
            refused = [place.error for place in asked[self._group].result().topic_partitions if place.error]
        except KafkaException as error:
            refused = [error.args[0]]
        if not refused:
            self._published, self._fails = dict(offsets), False
        elif not self._fails:
            self._fails = True
            LOG.warning("Offsets cannot be published to the group %s: %s.", self._group, reason(refused[0]))
