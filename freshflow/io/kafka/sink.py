"""Sink that writes a topic and waits for all acknowledgements before an epoch ends."""

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from freshflow.config.schema import KafkaConfig
from freshflow.errors import OutputError
from freshflow.io.kafka.client import client_options, create_client, list_partitions
from freshflow.io.kafka.errors import LOG, Outage, error_reason
from freshflow.io.record import OutBatch

_FLUSH_TIMEOUT_S = 1.0  # longest wait before the interpreter may handle a signal
_QUEUE_FULL_POLL_S = 0.01  # wait for room in the queue, which librdkafka does not announce


class KafkaSink(FixedPartitionedSink[OutBatch, None]):  # type: ignore[misc]
    """A topic as a sink of `n_parts` producers, which have no state.

    Items are `(route, OutBatch)`. The order of records is kept per route and Kafka partition.
    """

    def __init__(self, bootstrap: str, topic: str, config: KafkaConfig, n_parts: int) -> None:
        self._topic = topic
        self._config = config
        self._n_parts = n_parts
        self._options = client_options(bootstrap, config, "sink")

    def list_parts(self) -> list[str]:
        """Return the names of the parts; raises `BrokerError` or `InputError` if the topic cannot be used."""
        list_partitions(self._options, self._topic, self._config.timeout_s)
        return [f"{part:05d}" for part in range(self._n_parts)]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> "KafkaSinkPartition":
        """Open a producer.

        Args:
            step_id: The step of the sink.
            for_part: The name of the part.
            resume_state: None; the sink has no state.
        """
        return KafkaSinkPartition(self._options, self._topic, self._config.timeout_s)


class KafkaSinkPartition(StatefulSinkPartition[OutBatch, None]):  # type: ignore[misc]
    """One producer; a failed delivery raises `OutputError` at the next call, or in `snapshot`.

    Bytewax calls `snapshot` at the end of an epoch, before it commits the epoch; records that were not acknowledged by
    then are written again after a resume.
    """

    def __init__(self, options: dict[str, object], topic: str, timeout_s: float) -> None:
        self._topic = topic
        self._timeout_s = timeout_s
        self._failure: KafkaError | None = None
        self._n_failed = 0
        self._outage = Outage(f"Kafka at {options['bootstrap.servers']}, writing {topic}")
        self._producer = create_client(
            Producer, options, error_cb=self._outage.record_error, on_delivery=self._on_delivery
        )

    def write_batch(self, values: list[OutBatch]) -> None:
        """Pass the records to the producer; wait while its queue is full."""
        for batch in values:
            for key, value in batch:
                self._produce(key, value)
        self._producer.poll(0)
        self._raise_failure()

    def snapshot(self) -> None:
        """Wait until the broker has acknowledged every record."""
        while self._producer.flush(_FLUSH_TIMEOUT_S):
            self._raise_failure()
        self._raise_failure()
        self._outage.record_recovery()

    def close(self) -> None:
        """Send the records left in the queue within the time limit; never raises.

        Bytewax closes a sink while it unwinds from another step's error, where a second error would abort the process.
        A job that ends without an error took a snapshot before, so its queue is empty.
        """
        n_unsent = self._producer.flush(0 if self._failure else self._timeout_s)
        if n_unsent or self._failure:
            self._producer.purge()
            n_undelivered = n_unsent + self._n_failed
            LOG.error(
                "%d records for %s were not delivered; a resumed job writes them again.", n_undelivered, self._topic
            )

    def _produce(self, key: bytes | None, value: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value=value, key=key)
            except BufferError:  # the queue is full: back-pressure
                self._producer.poll(_QUEUE_FULL_POLL_S)
                self._raise_failure()
            except KafkaException as error:
                raise self._delivery_error(error.args[0]) from None
            else:
                return

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._n_failed += 1
            self._failure = self._failure or error

    def _raise_failure(self) -> None:
        failure = self._failure or self._outage.failure
        if failure is not None:
            raise self._delivery_error(failure)

    def _delivery_error(self, error: KafkaError) -> OutputError:
        self._failure = self._failure or error
        return OutputError(f"A record could not be written to {self._topic}: {error_reason(error)}; {_advice(error)}.")


def _advice(error: KafkaError) -> str:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return "raise max.message.bytes of the topic and message.max.bytes in [kafka.sink]"
    if error.code() in (KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT):
        return "bring the brokers back and resume the job"
    return "check the topic, the rights of this user, and [kafka.sink]"
