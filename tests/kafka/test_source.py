"""Reading topics, over a real connection."""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, cluster_main, run_main
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from freshflow.config.schema import KafkaConfig
from freshflow.errors import BrokerError, ConfigError, InputError
from freshflow.events.model import Origin, RawBatch
from freshflow.io.kafka.source import KafkaSource, KafkaSourcePartition

from .brokers import Cable, NewTopicFn, fill, make_topic

pytestmark = pytest.mark.kafka

Clock = Callable[[], int]
Records = list[tuple[int, bytes | None]]


def source_of(address: str, topic: str, clock: Clock, batch_size: int = 100, **more: Any) -> KafkaSource:
    config = KafkaConfig(**{name: more.pop(name) for name in ("timeout_s", "start", "on_lost") if name in more})
    stop = more.pop("stop", lambda: False)
    return KafkaSource(address, topic, config, batch_size, clock=clock, should_stop=stop, **more)


def batches_of(part: KafkaSourcePartition) -> Iterator[RawBatch]:
    """Read a partition to its end."""
    while True:
        try:
            yield from part.next_batch()
        except StopIteration:
            return


def read(part: KafkaSourcePartition, count: int) -> Records:
    """Read until `count` records are there."""
    records: Records = []
    while len(records) < count:
        for batch in part.next_batch():
            records += batch.records
    return records


def numbered(count: int, start: int = 0) -> list[tuple[int, bytes | None, bytes | None]]:
    return [(0, b"k", b"%d" % n) for n in range(start, start + count)]


def test_all_partitions_are_read_to_their_end_with_tombstones(broker: str, new_topic: NewTopicFn, clock: Clock) -> None:
    topic = new_topic(partitions=3)
    values = [None if n % 10 == 0 else b"%d" % n for n in range(3000)]
    fill(broker, topic, [(n % 3, b"key", value) for n, value in enumerate(values)])
    found: list[RawBatch] = []
    flow = Dataflow("read")
    op.output("out", op.input("in", flow, source_of(broker, topic, clock, until_end=True)), TestingSink(found))
    run_main(flow)
    for partition in range(3):
        origin = Origin("topic", topic, partition)
        records = [record for batch in found if batch.origin == origin for record in batch.records]
        assert records == list(enumerate(values[partition::3]))
    assert all(batch.records and batch.columns is None for batch in found)
    assert len({batch.read_ms for batch in found}) == len(found)


def test_two_workers_share_the_partitions(broker: str, new_topic: NewTopicFn, clock: Clock) -> None:
    topic = new_topic(partitions=4)
    fill(broker, topic, [(n % 4, None, b"%d" % n) for n in range(400)])
    found: list[RawBatch] = []
    flow = Dataflow("read")
    op.output("out", op.input("in", flow, source_of(broker, topic, clock, until_end=True)), TestingSink(found))
    cluster_main(flow, [], 0, worker_count_per_proc=2)
    values = [int(value or b"") for batch in found for _, value in batch.records]
    assert sorted(values) == list(range(400))


def test_part_names_sort_by_partition(broker: str, new_topic: NewTopicFn, clock: Clock) -> None:
    topic = new_topic(partitions=11)
    parts = source_of(broker, topic, clock).list_parts()
    assert parts == sorted(parts)
    assert parts[10] == f"{topic}/00010"


def test_a_batch_holds_no_more_than_asked_for(broker: str, new_topic: NewTopicFn, clock: Clock) -> None:
    topic = new_topic()
    fill(broker, topic, numbered(25))
    part = source_of(broker, topic, clock, batch_size=10, until_end=True).build_part("in", f"{topic}/00000", None)
    assert max(len(batch.records) for batch in batches_of(part)) <= 10
    part.close()


def test_a_closed_port_is_told_in_a_sentence_within_the_limit(closed_port: str, clock: Clock) -> None:
    with pytest.raises(BrokerError) as caught:
        source_of(closed_port, "events", clock, timeout_s=1.0).list_parts()
    said = str(caught.value)
    assert said.startswith(f"No Kafka broker answered at {closed_port} within 1 s (")
    assert "Connection refused" in said
    assert said.endswith("check that it runs, its address and port, and security.protocol in [kafka].")


def test_a_broker_that_never_answers_is_told_within_the_limit(silent_port: str, clock: Clock) -> None:
    with pytest.raises(BrokerError, match=f"No Kafka broker answered at {silent_port} within 1 s"):
        source_of(silent_port, "events", clock, timeout_s=1.0).list_parts()


def test_a_host_without_an_address_is_told(clock: Clock) -> None:
    with pytest.raises(BrokerError, match=r"Failed to resolve 'nowhere\.invalid:9092'"):
        source_of("nowhere.invalid:9092", "events", clock, timeout_s=1.0).list_parts()


def test_tls_to_a_plain_broker_is_told(broker: str, clock: Clock) -> None:
    config = KafkaConfig(timeout_s=2.0, options={"security.protocol": "ssl"})
    source = KafkaSource(broker, "events", config, 10, clock=clock, should_stop=lambda: False)
    with pytest.raises(BrokerError, match=r"check .*security\.protocol"):
        source.list_parts()


def test_a_missing_topic_names_the_command_and_is_not_created(broker: str, clock: Clock) -> None:
    with pytest.raises(InputError, match=r"The topic no-such-topic does not exist.*`freshflow topics create`"):
        source_of(broker, "no-such-topic", clock).list_parts()
    assert "no-such-topic" not in AdminClient({"bootstrap.servers": broker}).list_topics(timeout=10).topics


def test_a_resumed_partition_begins_at_the_offset_of_its_snapshot(
    broker: str, new_topic: NewTopicFn, clock: Clock
) -> None:
    topic = new_topic()
    fill(broker, topic, numbered(20))
    first = source_of(broker, topic, clock, batch_size=7).build_part("in", f"{topic}/00000", None)
    records = read(first, 7)
    offset = first.snapshot()
    first.close()
    second = source_of(broker, topic, clock, until_end=True).build_part("in", f"{topic}/00000", offset)
    records += [record for batch in batches_of(second) for record in batch.records]
    assert records == [(n, b"%d" % n) for n in range(20)]
    assert second.snapshot() == 20
    second.close()


def test_latest_reads_what_comes_after_it_began(broker: str, new_topic: NewTopicFn, clock: Clock) -> None:
    topic = new_topic()
    fill(broker, topic, numbered(5))
    part = source_of(broker, topic, clock, start="latest").build_part("in", f"{topic}/00000", None)
    assert part.snapshot() == 5
    fill(broker, topic, numbered(3, start=5))
    assert read(part, 3) == [(5, b"5"), (6, b"6"), (7, b"7")]
    part.close()


def test_a_partition_that_was_added_since_the_snapshot_is_read_whole(
    broker: str, new_topic: NewTopicFn, clock: Clock
) -> None:
    topic = new_topic()
    fill(broker, topic, numbered(5))
    part = source_of(broker, topic, clock, start="latest", is_resumed=True).build_part("in", f"{topic}/00000", None)
    assert part.snapshot() == 0
    part.close()


def test_until_end_ends_on_an_empty_partition(broker: str, new_topic: NewTopicFn, clock: Clock) -> None:
    topic = new_topic()
    part = source_of(broker, topic, clock, until_end=True).build_part("in", f"{topic}/00000", None)
    assert list(batches_of(part)) == []
    assert part.snapshot() == 0
    part.close()


def test_until_end_ends_though_the_topic_goes_on(broker: str, new_topic: NewTopicFn, clock: Clock) -> None:
    topic = new_topic()
    fill(broker, topic, numbered(10))
    source = source_of(broker, topic, clock, batch_size=1, until_end=True)
    part = source.build_part("in", f"{topic}/00000", None)
    records = read(part, 1)
    fill(broker, topic, numbered(5, start=10))
    records += [record for batch in batches_of(part) for record in batch.records]
    assert [offset for offset, _ in records] == list(range(10))
    assert part.snapshot() == 10
    part.close()


def test_until_end_passes_the_markers_of_transactions(broker: str, new_topic: NewTopicFn, clock: Clock) -> None:
    topic = new_topic()
    options = {"bootstrap.servers": broker, "transactional.id": f"writer of {topic}", "log_level": 0}
    producer = Producer(options)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"kept", partition=0)
    producer.commit_transaction(30)
    part = source_of(broker, topic, clock, until_end=True).build_part("in", f"{topic}/00000", None)
    assert [record for batch in batches_of(part) for record in batch.records] == [(0, b"kept")]
    part.close()


def test_what_retention_deleted_is_told_instead_of_skipped(
    apache_kafka: str, new_topic: NewTopicFn, clock: Clock
) -> None:
    topic = new_topic()
    fill(apache_kafka, topic, numbered(20))
    admin = AdminClient({"bootstrap.servers": apache_kafka})
    next(iter(admin.delete_records([TopicPartition(topic, 0, 12)]).values())).result(30)
    part = source_of(apache_kafka, topic, clock).build_part("in", f"{topic}/00000", 5)
    with pytest.raises(BrokerError, match=f"Offsets 5 to 11 of {topic}/0 were deleted before they were read; lengthen"):
        read(part, 1)
    assert part.snapshot() == 5
    part.close()


def test_what_retention_deleted_is_counted_in_the_log_where_the_job_is_told_to_go_on(
    apache_kafka: str, new_topic: NewTopicFn, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic()
    fill(apache_kafka, topic, numbered(20))
    admin = AdminClient({"bootstrap.servers": apache_kafka})
    next(iter(admin.delete_records([TopicPartition(topic, 0, 12)]).values())).result(30)
    part = source_of(apache_kafka, topic, clock, on_lost="earliest").build_part("in", f"{topic}/00000", 5)
    assert read(part, 8) == [(n, b"%d" % n) for n in range(12, 20)]
    assert part.snapshot() == 20
    assert caplog.messages == [
        f"Offsets 5 to 11 of {topic}/0 were deleted before they were read, 7 at most; "
        "the job goes on at offset 12, as kafka.on_lost says."
    ]
    part.close()


def test_until_end_ends_where_retention_deleted_all_there_was(
    apache_kafka: str, new_topic: NewTopicFn, clock: Clock
) -> None:
    topic = new_topic()
    fill(apache_kafka, topic, numbered(20))
    admin = AdminClient({"bootstrap.servers": apache_kafka})
    next(iter(admin.delete_records([TopicPartition(topic, 0, 20)]).values())).result(30)
    source = source_of(apache_kafka, topic, clock, on_lost="earliest", until_end=True)
    part = source.build_part("in", f"{topic}/00000", 5)
    assert list(batches_of(part)) == []
    assert part.snapshot() == 20
    part.close()


@pytest.mark.parametrize("on_lost", ["stop", "earliest"])
def test_a_topic_that_ends_before_the_snapshot_is_told(
    on_lost: str, apache_kafka: str, new_topic: NewTopicFn, clock: Clock
) -> None:
    topic = new_topic()
    fill(apache_kafka, topic, numbered(3))
    source = source_of(apache_kafka, topic, clock, until_end=True, on_lost=on_lost)
    part = source.build_part("in", f"{topic}/00000", 9)
    with pytest.raises(BrokerError, match=f"{topic}/0 ends at offset 3, before offset 9 where the snapshot continues"):
        read(part, 1)
    part.close()


def test_a_stopped_job_takes_a_snapshot_and_goes_on_from_it(
    broker: str, new_topic: NewTopicFn, clock: Clock, tmp_path: Path
) -> None:
    topic = new_topic(partitions=2)
    fill(broker, topic, [(n % 2, None, b"%d" % n) for n in range(2000)])
    init_db_dir(tmp_path, 1)
    found: list[RawBatch] = []

    def run(stop: Callable[[], bool]) -> None:
        flow = Dataflow("read")
        source = source_of(broker, topic, clock, batch_size=50, stop=stop, until_end=True)
        op.output("out", op.input("in", flow, source), TestingSink(found))
        run_main(flow, epoch_interval=timedelta(seconds=10), recovery_config=RecoveryConfig(tmp_path))

    run(lambda: len(found) >= 8)
    assert 0 < sum(len(batch.records) for batch in found) < 2000
    run(lambda: False)
    values = [int(value or b"") for batch in found for _, value in batch.records]
    assert sorted(values) == list(range(2000))


def test_an_outage_is_logged_once_and_waited_out(cable: Cable, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    address = f"127.0.0.1:{cable.port}"
    topic = make_topic(address, "events")
    fill(address, topic, numbered(3))
    part = source_of(address, topic, clock).build_part("in", f"{topic}/00000", None)
    with caplog.at_level(logging.WARNING, "freshflow.kafka"):
        for round_ in (0, 1):
            records = read(part, 3)
            cable.cut()
            while len(caplog.messages) < 2 * round_ + 1:  # until the outage is noticed
                assert part.next_batch() == []
            cable.mend()
            fill(address, topic, numbered(3))
            assert records == [(3 * round_ + n, b"%d" % n) for n in range(3)]
        read(part, 3)
    part.close()
    outages = [message for message in caplog.messages if message.endswith("waiting for it to come back.")]
    assert len(outages) == 2
    assert caplog.messages[1::2] == [f"Kafka at {address}, reading events/0: answers again."] * 2


def test_an_unknown_option_is_named(broker: str, clock: Clock) -> None:
    config = KafkaConfig(options={"fetch.mni.bytes": 1})
    with pytest.raises(ConfigError, match=r'No such configuration property: "fetch\.mni\.bytes"'):
        KafkaSource(broker, "events", config, 10, clock=clock, should_stop=lambda: False).list_parts()
