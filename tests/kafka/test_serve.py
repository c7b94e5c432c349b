"""Lists of a topic, read by a server over a real connection: tombstones, restarts, and a topic that is made anew."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from freshflow.config.schema import Config, KafkaConfig
from freshflow.errors import BrokerError, ConfigError, InputError
from freshflow.serving.app import ServerState
from freshflow.serving.records import ChangeBatch, ListChange
from freshflow.serving.server import ServerUrls, open_server_state
from freshflow.serving.store import open_list_store

from .brokers import Cable, NewTopicFn, Triple, fill, make_topic

pytestmark = pytest.mark.kafka

GHOST = ("recommendations", "ghost")  # a list in the store that is not in the topic

Serve = Callable[[str], AbstractContextManager[ServerState]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """A server without HTTP over a topic, with the same store every time."""
    return lambda url: open_server_state(ServerUrls(url, None, str(tmp_path / "store.sqlite")), Config())


def record(user: str, number: int, partition: int = 0) -> Triple:
    return partition, user.encode(), json.dumps({"user_id": user, "computed_at": number, "items": []}).encode()


def numbers(answers: ServerState, *users: str) -> Iterator[int | None]:
    for user in users:
        value = answers.list_reader.get_list("recommendations", user)
        yield None if value is None else json.loads(value)["computed_at"]


def wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.02)


def test_lists_are_read_as_they_come_and_on_from_the_offsets_in_the_store(
    broker: str, new_topic: NewTopicFn, serve: Serve
) -> None:
    topic = new_topic(2)
    url = f"kafka://{broker}/{topic}"
    fill(broker, topic, [record("u1", 1), record("u2", 2, 1), record("ü/%", 3), record("u1", 4)])
    with serve(url) as answers:
        (reader,) = answers.readers
        wait_until(lambda: reader.is_caught_up)
        assert [*numbers(answers, "u1", "u2", "ü/%")] == [4, 2, 3]
        fill(broker, topic, [(1, b"u2", None), record("u3", 5, 1), (0, None, b"no list")])
        wait_until(lambda: reader.n_records + reader.n_skipped == 7)
        assert [*numbers(answers, "u2", "u3")] == [None, 5]
        assert (reader.n_tombstones, reader.n_skipped, reader.input.lag) == (1, 1, 0)
    fill(broker, topic, [record("u4", 6)])
    with serve(url) as answers:
        assert [*numbers(answers, "u1", "u2", "u3")] == [4, None, 5]  # before anything is read
        (reader,) = answers.readers
        wait_until(lambda: reader.n_records == 1)
        assert [*numbers(answers, "u1", "u4")] == [4, 6]
        assert reader.health().staleness_s is not None


def test_another_topic_takes_the_place_of_the_first(broker: str, new_topic: NewTopicFn, serve: Serve) -> None:
    first, second = new_topic(), new_topic(2)
    fill(broker, first, [record("u1", 1), record("u2", 2)])
    with serve(f"kafka://{broker}/{first}") as answers:
        wait_until(lambda: answers.readers[0].is_caught_up)
    fill(broker, second, [record("u1", 3, 1), record("u3", 4)])
    with serve(f"kafka://{broker}/{second}") as answers:
        wait_until(lambda: answers.readers[0].is_caught_up)
        assert [*numbers(answers, "u1", "u2", "u3")] == [3, None, 4]


@pytest.mark.parametrize("longer", [False, True])
def test_a_topic_that_is_made_anew_is_read_anew(broker: str, new_topic: NewTopicFn, serve: Serve, longer: bool) -> None:
    topic = new_topic()
    fill(broker, topic, [record(f"u{n}", n) for n in range(9)])
    with serve(f"kafka://{broker}/{topic}") as answers:
        wait_until(lambda: answers.readers[0].is_caught_up)
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    admin.delete_topics([topic])[topic].result(30)
    wait_until(lambda: topic not in admin.list_topics(timeout=10).topics)
    make_topic(broker, topic)
    fill(broker, topic, [record("u1", 100 + n) for n in range(20 if longer else 1)])
    with serve(f"kafka://{broker}/{topic}") as answers:
        wait_until(lambda: [*numbers(answers, "u1", "u2")] == [119 if longer else 100, None])


def test_an_offset_behind_the_end_has_the_topic_read_anew(
    apache_kafka: str, new_topic: NewTopicFn, serve: Serve
) -> None:
    topic = new_topic(2)
    url = f"kafka://{apache_kafka}/{topic}"
    fill(apache_kafka, topic, [record("u1", 1), record("u2", 2, 1)])
    with serve(url) as answers:
        wait_until(lambda: answers.readers[0].is_caught_up)
        place = json.loads(answers.readers[0]._stored_position or b"")
        path = answers.list_reader._path  # type: ignore[attr-defined]
    store = open_list_store(path)
    ahead = json.dumps(place | {"offsets": {"0": 1, "1": 900}}).encode()
    store.apply("recommendations", ChangeBatch([ListChange("ghost", b"{}")], 0, ahead, False, False))
    store.close()
    with serve(url) as answers:
        wait_until(lambda: [*numbers(answers, "u1", "u2")] == [1, 2] and not answers.list_reader.get_list(*GHOST))


def test_a_server_that_was_away_for_long_reads_the_topic_anew_as_a_tombstone_may_be_gone(
    broker: str, new_topic: NewTopicFn, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic(2, {"cleanup.policy": "compact"})
    url = f"kafka://{broker}/{topic}"
    fill(broker, topic, [record("u1", 1), record("u2", 2, 1)])
    with serve(url) as answers:
        wait_until(lambda: answers.readers[0].is_caught_up)
        path = answers.list_reader._path  # type: ignore[attr-defined]
    store = open_list_store(path)
    store.apply(
        "recommendations",
        ChangeBatch([ListChange("ghost", b"{}")], 0, store.position("recommendations") or b"", False, False),
    )
    store.close()
    with serve(url) as answers:
        wait_until(lambda: answers.readers[0].is_caught_up)
        assert answers.list_reader.get_list(*GHOST) == b"{}"
    now_ms = time.time_ns() // 1_000_000 + 13 * 3_600_000
    monkeypatch.setattr("freshflow.serving.server.system_time_ms", lambda: now_ms)
    with serve(url) as answers:
        wait_until(lambda: answers.list_reader.get_list(*GHOST) is None)
        assert [*numbers(answers, "u1", "u2")] == [1, 2]
    assert "was last read 13.0 h ago, longer than serve.resync_after_s" in caplog.text


def test_a_broker_that_goes_away_is_waited_for(cable: Cable, serve: Serve) -> None:
    address = f"127.0.0.1:{cable.port}"
    topic = make_topic(address, "lists", 2)
    fill(address, topic, [record("u1", 1)])
    with serve(f"kafka://{address}/{topic}") as answers:
        wait_until(lambda: answers.readers[0].is_caught_up)
        cable.cut()
        assert [*numbers(answers, "u1")] == [1]
        cable.mend()
        fill(address, topic, [record("u1", 2, 1), (1, b"u1", None)])
        wait_until(lambda: answers.readers[0].n_tombstones == 1)
        assert answers.readers[0].failure is None


def test_a_topic_that_cannot_be_read_is_told(broker: str, closed_port: str, serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"), serve(f"kafka://{broker}/none-{uuid.uuid4().hex[:8]}"):
        pass
    with pytest.raises(ConfigError, match="not the address of a topic"), serve("kafka://nowhere"):
        pass
    places = ServerUrls(f"kafka://{closed_port}/lists", None, str(tmp_path / "unused.sqlite"))
    config = Config(kafka=KafkaConfig(timeout_s=1.0))
    with pytest.raises(BrokerError, match="No Kafka broker answered"), open_server_state(places, config):
        pass
