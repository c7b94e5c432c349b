"""The store in Redis: what is told where it cannot be used, and a server whose Redis goes away and comes back."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from freshflow.config.schema import Config
from freshflow.errors import ConfigError, OutputError
from freshflow.serving.app import make_app
from freshflow.serving.server import ServerUrls, open_server_state
from freshflow.serving.store import open_list_store
from tests.serving.conftest import RedisServer
from tests.serving.test_app import LIST, append, get, wait_until

NewRedis = Callable[[], RedisServer]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshflow.serving.reader.RETRY_S", 0.05)


def test_a_redis_that_goes_away_fails_the_health_and_one_that_comes_back_is_written_on(
    tmp_path: Path, new_redis: NewRedis
) -> None:
    server, lists = new_redis(), tmp_path / "lists.jsonl"
    append(lists, LIST)
    with open_server_state(ServerUrls(str(lists), None, server.url), Config()) as answers:
        app = make_app(answers)
        wait_until(lambda: get(app, "/recommendations/u1").status == 200)
        assert get(app, "/recommendations/u1").body == json.dumps(LIST).encode()
        server.stop()
        append(lists, LIST | {"user_id": "u2"})
        refused = get(app, "/recommendations/u1")
        assert refused.status == 503
        assert f"The store {server.url} cannot be read" in json.loads(refused.body)["error"]
        health = get(app, "/healthz")
        assert (health.status, json.loads(health.body)["users"]) == (503, None)
        assert get(app, "/metrics").status == 200
        wait_until(lambda: answers.readers[0].failure is not None)
        server.start()
        wait_until(lambda: get(app, "/recommendations/u2").status == 200)
        wait_until(lambda: get(app, "/healthz").status == 200)
        append(lists, {"key": "u1", "value": None})
        wait_until(lambda: get(app, "/recommendations/u1").status == 404)
    with open_server_state(ServerUrls(str(lists), None, server.url), Config()) as answers:
        wait_until(lambda: answers.readers[0].is_caught_up)
        assert (answers.readers[0].n_records, answers.list_reader.count_lists()) == (0, (1, 0))


def test_a_redis_that_forgets_what_was_written_is_no_store_to_write_on(tmp_path: Path, new_redis: NewRedis) -> None:
    server, lists = new_redis(), tmp_path / "lists.jsonl"
    append(lists, LIST)
    with open_server_state(ServerUrls(str(lists), None, server.url), Config()) as answers:
        wait_until(lambda: answers.readers[0].is_caught_up)
        open_list_store(server.url)._client.flushdb()  # type: ignore[attr-defined]
        append(lists, LIST | {"user_id": "u2"})
        wait_until(lambda: "or has lost data" in (answers.readers[0].failure or ""))
    with open_server_state(
        ServerUrls(str(lists), None, server.url), Config()
    ) as answers:  # and whoever starts again reads it all
        wait_until(lambda: answers.readers[0].n_records == 2)


def test_addresses_that_cannot_be_used_are_told_without_their_passwords(new_redis: NewRedis) -> None:
    server = new_redis()
    port = server.port
    with pytest.raises(OutputError, match=rf"The store redis://127.0.0.1:{port}/0 cannot be used") as refused:
        open_list_store(f"redis://user:secret@127.0.0.1:{port}/0")
    assert "secret" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"redis://127.0.0.1:6379/x is not a Redis URL") as refused_address:
        open_list_store("redis://:secret@127.0.0.1:6379/x?socket_timeout=secret")
    assert "secret" not in str(refused_address.value)
    server.stop()
    with pytest.raises(OutputError, match=r"cannot be used: .*look at Redis, its address and its login"):
        open_list_store(server.url)
    server.start()
    open_list_store(server.url)._client.set("freshflow:version", "9")  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match="is of another version"):
        open_list_store(server.url)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshflow.serving.store.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"needs redis, which is not installed: pip install 'freshflow\[serve,serve-redis\]'"
    ):
        open_list_store("redis://localhost:6379")
