"""Writing topics, over a real connection."""

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSource, cluster_main, run_main

from freshflow.config.schema import KafkaConfig
from freshflow.errors import BrokerError, ConfigError, InputError, OutputError
from freshflow.events.model import RawBatch
from freshflow.io.kafka.sink import KafkaSink, KafkaSinkPartition
from freshflow.io.kafka.source import KafkaSource
from freshflow.io.record import OutBatch, OutRecord

from .brokers import Cable, NewTopicFn, Tansu, drain, fill, make_topic

pytestmark = pytest.mark.kafka

Clock = Callable[[], int]


def part_of(address: str, topic: str, **options: str | int) -> KafkaSinkPartition:
    config = KafkaConfig(timeout_s=2.0, sink={name.replace("_", "."): value for name, value in options.items()})
    return KafkaSink(address, topic, config, 1).build_part("out", "00000", None)


def numbered(count: int) -> OutBatch:
    return [(b"user-%d" % (n % 50), None if n % 9 == 0 else b"%d" % n) for n in range(count)]


def in_batches(records: OutBatch, size: int) -> Iterator[tuple[str, OutBatch]]:
    for start in range(0, len(records), size):
        yield str(start // size % 4), records[start : start + size]


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def test_keys_values_tombstones_and_order_arrive(broker: str, new_topic: NewTopicFn) -> None:
    topic = new_topic(partitions=3)
    records = [*numbered(3000), (None, b"no key")]
    part = part_of(broker, topic)
    part.write_batch([batch for _, batch in in_batches(records, 100)])
    part.snapshot()
    part.close()
    found = drain(broker, topic)
    assert len(found) == len(records)
    for user in {key for key, _ in records}:
        assert [value for _, key, value in found if key == user] == [v for k, v in records if k == user]
        assert len({partition for partition, key, _ in found if key == user}) == 1


def test_a_key_goes_to_the_partition_where_java_writers_put_it(broker: str, new_topic: NewTopicFn) -> None:
    topic = new_topic(partitions=8)
    part = part_of(broker, topic)
    part.write_batch([[(b"21", b""), (b"foobar", b"")]])
    part.snapshot()
    part.close()
    hashes = {
        b"21": -973932308 & 0x7FFFFFFF,
        b"foobar": -790332482 & 0x7FFFFFFF,
    }  # murmur2, from Kafka's own tests
    assert {key: partition for partition, key, _ in drain(broker, topic)} == {k: h % 8 for k, h in hashes.items()}


def test_a_flow_copies_a_topic(broker: str, new_topic: NewTopicFn, clock: Clock) -> None:
    from_topic, to_topic = new_topic(partitions=2), new_topic(partitions=2)
    fill(broker, from_topic, [(n % 2, None, None if n % 7 == 0 else b"%d" % n) for n in range(4000)])

    def copied(batch: RawBatch) -> tuple[str, OutBatch]:
        records: list[OutRecord] = [(b"%d" % offset, value) for offset, value in batch.records]
        return str(batch.origin.partition), records

    flow = Dataflow("copy")
    config = KafkaConfig()
    source = KafkaSource(broker, from_topic, config, 64, clock=clock, should_stop=lambda: False, until_end=True)
    batches = op.map("copied", op.input("in", flow, source), copied)
    op.output("out", batches, KafkaSink(broker, to_topic, config, 2))
    cluster_main(flow, [], 0, worker_count_per_proc=2)
    found = sorted(value or b"" for _, _, value in drain(broker, to_topic))
    assert found == sorted(b"" if n % 7 == 0 else b"%d" % n for n in range(4000))


def test_a_full_queue_holds_the_flow_back_and_loses_nothing(broker: str, new_topic: NewTopicFn) -> None:
    topic = new_topic()
    part = part_of(broker, topic, queue_buffering_max_messages=10)
    part.write_batch([numbered(500)])
    part.snapshot()
    part.close()
    assert [(key, value) for _, key, value in drain(broker, topic)] == numbered(500)


def test_a_closed_port_is_told_in_a_sentence(closed_port: str) -> None:
    with pytest.raises(BrokerError, match=f"No Kafka broker answered at {closed_port} within 1 s"):
        KafkaSink(closed_port, "recommendations", KafkaConfig(timeout_s=1.0), 2).list_parts()


def test_a_missing_topic_names_the_command(broker: str) -> None:
    with pytest.raises(InputError, match=r"The topic no-such-topic does not exist.*`freshflow topics create`"):
        KafkaSink(broker, "no-such-topic", KafkaConfig(), 2).list_parts()


def test_parts_are_numbered(broker: str, new_topic: NewTopicFn) -> None:
    assert KafkaSink(broker, new_topic(), KafkaConfig(), 3).list_parts() == ["00000", "00001", "00002"]


def test_a_record_larger_than_the_client_takes_raises(broker: str, new_topic: NewTopicFn) -> None:
    part = part_of(broker, new_topic(), message_max_bytes=2000)
    with pytest.raises(OutputError, match=r"could not be written to .*; raise max\.message\.bytes of the topic"):
        part.write_batch([[(b"k", b"x" * 5000)]])
    part.close()


def test_a_record_larger_than_the_topic_takes_raises_at_the_snapshot(apache_kafka: str, new_topic: NewTopicFn) -> None:
    part = part_of(apache_kafka, new_topic(settings={"max.message.bytes": "2000"}))
    part.write_batch([[(b"k", random.Random(1).randbytes(20_000))]])
    with pytest.raises(OutputError, match=r"could not be written to .*; raise max\.message\.bytes of the topic"):
        part.snapshot()
    part.close()


def test_records_for_a_broker_that_died_raise_at_the_snapshot(
    own_broker: Tansu, caplog: pytest.LogCaptureFixture
) -> None:
    topic = make_topic(own_broker.address, "recommendations")
    part = part_of(own_broker.address, topic, message_timeout_ms=1500)
    part.write_batch([numbered(10)])
    part.snapshot()
    own_broker.kill()
    part.write_batch([numbered(10)])
    with pytest.raises(OutputError, match=r"could not be written to recommendations: .*; bring the brokers back"):
        part.snapshot()
    with caplog.at_level(logging.ERROR, "freshflow.kafka"):
        part.close()  # while Bytewax unwinds a second error would abort the process
    told = "10 records for recommendations were not delivered; a resumed job writes them again."
    assert caplog.messages[-1] == told


def test_an_epoch_whose_delivery_failed_is_written_again(own_broker: Tansu, tmp_path: Path) -> None:
    topic = make_topic(own_broker.address, "recommendations")
    init_db_dir(tmp_path, 1)
    config = KafkaConfig(timeout_s=2.0, sink={"message.timeout.ms": 1500})

    def killed_midway(item: tuple[str, OutBatch]) -> tuple[str, OutBatch]:
        if item[1] == [(b"k", b"2")]:
            own_broker.kill()
        return item

    def flow_to(address: str, step: Callable[[tuple[str, OutBatch]], tuple[str, OutBatch]]) -> Dataflow:
        flow = Dataflow("write")
        items = [("0", [(b"k", b"%d" % n)]) for n in range(4)]
        batches = op.map("midway", op.input("in", flow, TestingSource(items)), step)
        op.output("out", batches, KafkaSink(address, topic, config, 1))
        return flow

    with pytest.raises(BytewaxRuntimeError) as caught:
        run_main(flow_to(own_broker.address, killed_midway), recovery_config=RecoveryConfig(tmp_path))
    assert any(isinstance(cause, OutputError) for cause in causes(caught.value))
    second = Tansu()
    make_topic(second.address, topic)
    run_main(flow_to(second.address, lambda item: item), recovery_config=RecoveryConfig(tmp_path))
    values = [value for _, _, value in drain(second.address, topic)]
    second.kill()
    assert values[-2:] == [b"2", b"3"]


def test_an_outage_is_waited_out_and_each_record_written_once(cable: Cable, caplog: pytest.LogCaptureFixture) -> None:
    address = f"127.0.0.1:{cable.port}"
    topic = make_topic(address, "recommendations")
    part = part_of(address, topic)
    with caplog.at_level(logging.WARNING, "freshflow.kafka"):
        part.write_batch([numbered(100)])
        part.snapshot()
        cable.cut()
        part.write_batch([numbered(100)])
        while not caplog.messages:  # until the outage is noticed
            part.write_batch([])
        cable.mend()
        part.snapshot()
    part.close()
    assert [message.endswith("waiting for it to come back.") for message in caplog.messages] == [True, False]
    assert [(key, value) for _, key, value in drain(address, topic)] == numbered(100) * 2


def test_an_unknown_option_is_named(broker: str) -> None:
    with pytest.raises(ConfigError, match=r'No such configuration property: "linger\.msec"'):
        KafkaSink(broker, "recommendations", KafkaConfig(sink={"linger.msec": 5}), 1).list_parts()
