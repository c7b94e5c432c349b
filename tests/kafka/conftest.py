"""The brokers of these tests: the one in FRESHFLOW_TEST_KAFKA, else Tansu, started here and ended here.

Tansu is a Kafka-compatible broker in one binary. It keeps everything in memory and lacks what the fixture
`apache_kafka` is for: it never deletes or compacts, it checks neither sizes nor replication, and it does not
say that an offset is out of range.
"""

import itertools
import os
import socket
import uuid
from collections.abc import Callable, Iterator

import pytest

from .brokers import Cable, NewTopicFn, Tansu, free_port, make_topic, wait_until_it_answers


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Return the address of a broker that all tests share, as host:port."""
    given = os.environ.get("FRESHFLOW_TEST_KAFKA")
    if given:
        wait_until_it_answers(given)
        yield given
        return
    tansu = Tansu()
    yield tansu.address
    tansu.kill()


@pytest.fixture
def apache_kafka(broker: str) -> str:
    """Return the address of the broker where it is Apache Kafka, else skip."""
    if "FRESHFLOW_TEST_KAFKA" not in os.environ:
        pytest.skip("Tansu does not do this; run `make test-kafka` for Apache Kafka")
    return broker


@pytest.fixture
def new_topic(broker: str) -> NewTopicFn:
    """Return a function that makes a topic no other test has."""

    def make(partitions: int = 1, settings: dict[str, str] | None = None) -> str:
        return make_topic(broker, f"test-{uuid.uuid4().hex[:12]}", partitions, settings)

    return make


@pytest.fixture
def own_broker() -> Iterator[Tansu]:
    """Return a broker that the test may kill."""
    tansu = Tansu()
    yield tansu
    tansu.kill()


@pytest.fixture
def cable() -> Iterator[Cable]:
    """Return a cable that leads to a broker of its own; its port is the broker's advertised one."""
    cable = Cable()
    tansu = Tansu(advertised_port=cable.port)
    cable.mend(tansu.port)
    yield cable
    cable.cut()
    tansu.kill()


@pytest.fixture
def closed_port() -> str:
    """Return an address where nothing listens."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def silent_port() -> Iterator[str]:
    """Return an address that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def clock() -> Callable[[], int]:
    """Return a clock whose every reading is one millisecond after the last."""
    return itertools.count(1_700_000_000_000).__next__
