"""Source that reads each partition of a topic from its own offset, which the job's snapshots hold."""

from collections.abc import Callable

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from freshflow.config.schema import KafkaConfig
from freshflow.errors import BrokerError
from freshflow.events.model import Origin, RawBatch
from freshflow.io.kafka.client import client_options, create_client, list_partitions
from freshflow.io.kafka.errors import LOG, Outage, error_reason, read_on_error
from freshflow.io.scheme import ReportLag, ignore_lag

# Errors of broker and client for an offset that does not exist.
_OFFSET_GONE_CODES = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class KafkaSource(FixedPartitionedSource[RawBatch, int]):  # type: ignore[misc]
    """All partitions of a topic; the state of a partition is the next offset to read.

    Args:
        bootstrap: The bootstrap servers.
        topic: The topic's name.
        config: The `kafka` section of the configuration.
        batch_size: Largest number of records in a batch.
        clock: Processing time in epoch milliseconds.
        should_stop: Once it returns true, every partition ends, so that the job takes a last snapshot.
        until_end: Read a partition to its end as of the first fetch.
        is_resumed: The job continues from snapshots; a partition without one is new and is read from its beginning.
        report_lag: Called at the end of each epoch with a partition and its number of records left to read.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        config: KafkaConfig,
        batch_size: int,
        *,
        clock: Callable[[], int],
        should_stop: Callable[[], bool],
        until_end: bool = False,
        is_resumed: bool = False,
        report_lag: ReportLag = ignore_lag,
    ) -> None:
        self._report_lag = report_lag
        self._topic = topic
        self._config = config
        self._options = client_options(bootstrap, config, "source")
        self._batch_size = batch_size
        self._clock = clock
        self._should_stop = should_stop
        self._until_end = until_end
        self._start = "earliest" if is_resumed else config.start

    def list_parts(self) -> list[str]:
        """Return the names of the topic's partitions; raises `BrokerError` or `InputError` within the time limit."""
        partitions = list_partitions(self._options, self._topic, self._config.timeout_s)
        return [f"{self._topic}/{partition:05d}" for partition in partitions]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "KafkaSourcePartition":
        """Open a partition.

        Args:
            step_id: The step of the source.
            for_part: The name of the partition, `topic/number`.
            resume_state: The offset of its snapshot; without one `kafka.start` decides.

        Raises:
            BrokerError: The broker does not answer.
        """
        topic, _, number = for_part.rpartition("/")
        origin = Origin("topic", topic, int(number))
        outage = Outage(f"Kafka at {self._options['bootstrap.servers']}, reading {_partition_name(origin)}")
        consumer = create_client(Consumer, self._options, error_cb=outage.record_error)
        next_offset = resume_state
        if next_offset is None:
            low, high = _fetch_watermarks(consumer, origin, self._config.timeout_s)
            next_offset = low if self._start == "earliest" else high
        return KafkaSourcePartition(
            consumer,
            origin,
            next_offset,
            outage=outage,
            config=self._config,
            batch_size=self._batch_size,
            clock=self._clock,
            should_stop=self._should_stop,
            until_end=self._until_end,
            report_lag=self._report_lag,
        )


class KafkaSourcePartition(StatefulSourcePartition[RawBatch, int]):  # type: ignore[misc]
    """One partition of a topic, read by a consumer of its own without a group.

    Offsets may have gaps (compaction, markers of transactions), so the position is one past the last record, or the end
    of the partition as the broker reports it.
    """

    def __init__(
        self,
        consumer: Consumer,
        origin: Origin,
        next_offset: int,
        *,
        outage: Outage,
        config: KafkaConfig,
        batch_size: int,
        clock: Callable[[], int],
        should_stop: Callable[[], bool],
        until_end: bool,
        report_lag: ReportLag = ignore_lag,
    ) -> None:
        self._report_lag = report_lag
        self._consumer = consumer
        self._origin = origin
        self._next_offset = next_offset
        self._outage = outage
        self._config = config
        self._batch_size = batch_size
        self._clock = clock
        self._should_stop = should_stop
        self._until_end = until_end
        self._end_offset: int | None = None  # for `until_end`, known from the first fetch on
        self._is_at_end = False
        self._assign_offset(next_offset)

    def next_batch(self) -> list[RawBatch]:
        """Return the fetched records as one batch, or nothing; never waits.

        Raises:
            StopIteration: The partition has ended, or the job stops.
            BrokerError: The broker refuses the request, or the offset is lost and `kafka.on_lost` is "stop".
        """
        if self._is_at_end or self._should_stop():
            raise StopIteration
        try:
            messages = self._consumer.consume(self._batch_size, timeout=0)
        except KafkaException as error:
            raise read_on_error(_partition_name(self._origin), error.args[0]) from None
        records = [record for message in messages if (record := self._process_message(message)) is not None]
        if self._outage.failure is not None:
            raise read_on_error(_partition_name(self._origin), self._outage.failure)
        return [RawBatch(self._origin, tuple(records), self._clock())] if records else []

    def snapshot(self) -> int:
        """Return the next offset to read, and report the lag as of the last fetch."""
        partition = TopicPartition(self._origin.name, self._origin.partition)
        watermarks = self._consumer.get_watermark_offsets(partition, cached=True)  # no request
        if watermarks is not None and watermarks[1] >= 0:  # before the first fetch there is none
            self._report_lag(self._origin.partition, max(0, watermarks[1] - self._next_offset))
        return self._next_offset

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()

    def _assign_offset(self, offset: int) -> None:
        self._next_offset = offset
        self._consumer.assign([TopicPartition(self._origin.name, self._origin.partition, offset)])

    def _process_message(self, message: Message) -> tuple[int, bytes | None] | None:
        error = message.error()
        if error is None:
            return self._read_record(message)
        if error.code() == KafkaError._PARTITION_EOF:
            self._outage.record_recovery()
            self._next_offset = max(self._next_offset, message.offset())
            self._is_at_end = self._until_end
        elif error.code() in _OFFSET_GONE_CODES:
            self._handle_lost_offset()
        else:
            self._outage.record_error(error)
        return None

    def _read_record(self, message: Message) -> tuple[int, bytes | None] | None:
        self._outage.record_recovery()
        offset: int = message.offset()
        if self._until_end:
            # Not requested at the start: Tansu would return the start of the last batch of records.
            if self._end_offset is None:
                partition = TopicPartition(self._origin.name, self._origin.partition)
                _, self._end_offset = self._consumer.get_watermark_offsets(partition, cached=True)
            self._is_at_end = self._is_at_end or offset + 1 >= self._end_offset
            if offset >= self._end_offset:
                return None
        self._next_offset = offset + 1
        return offset, message.value()

    def _handle_lost_offset(self) -> None:
        """Continue at the first offset left, if `kafka.on_lost` allows it.

        Raises:
            BrokerError: It does not, or the topic is shorter than the snapshot's offset.
        """
        low, high = _fetch_watermarks(self._consumer, self._origin, self._config.timeout_s)
        name, offset = _partition_name(self._origin), self._next_offset
        if offset >= low:
            raise BrokerError(
                f"{name} ends at offset {high}, before offset {offset} where the snapshot continues; restore the topic "
                "if it was created anew or lost records, or start the job without its snapshots to read what there is."
            )
        problem = f"Offsets {offset} to {low - 1} of {name} were deleted before they were read"
        if self._config.on_lost == "stop":
            raise BrokerError(
                f'{problem}; lengthen the topic\'s retention.ms, and set kafka.on_lost = "earliest" to go on without '
                "them."
            )
        LOG.warning("%s, %d at most; the job goes on at offset %d, as kafka.on_lost says.", problem, low - offset, low)
        self._assign_offset(low)


def _partition_name(origin: Origin) -> str:
    return f"{origin.name}/{origin.partition}"


def _fetch_watermarks(consumer: Consumer, origin: Origin, timeout_s: float) -> tuple[int, int]:
    """Return the first offset of a partition, and one past its last.

    Args:
        consumer: A consumer of the cluster.
        origin: The partition.
        timeout_s: Time limit in seconds.

    Raises:
        BrokerError: The broker does not answer in time.
    """
    partition = TopicPartition(origin.name, origin.partition)
    try:
        low, high = consumer.get_watermark_offsets(partition, timeout=timeout_s)
    except KafkaException as error:
        raise BrokerError(
            f"Kafka did not say within {timeout_s:g} s where {_partition_name(origin)} begins and ends "
            f"({error_reason(error.args[0])}); check that the brokers' advertised listeners are reached from here."
        ) from None
    return low, high
