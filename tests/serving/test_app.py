"""The API over a file of lists: answers, refusals, figures, and that its description is true."""

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from jsonschema import ValidationError
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from freshflow.config.schema import Config
from freshflow.serving.app import ServerState, make_app
from freshflow.serving.openapi import PATHS, build_openapi
from freshflow.serving.records import ListChange
from freshflow.serving.responses import Health, Problem, Recommendations, Related
from freshflow.serving.server import ServerUrls, open_server_state

ITEMS = [{"item_id": f"i{n}", "score": 3.0 - n, "reason": "popular", "because": []} for n in range(3)]
LIST = {
    "user_id": "u1",
    "list_id": "5ae71d0cbfdb8d64",
    "surface": "feed",
    "cause": "interaction",
    "event_ts": 1,
    "computed_at": 2,
    "source": {"file": "events.jsonl", "line": 3},
    "model": {"partition": 0, "updates": 4},
    "items": ITEMS,
}
RELATED = {
    "item_id": "i1",
    "computed_at": 2,
    "event_ts": 1,
    "source": {"file": "events.jsonl", "line": 3},
    "model": {"partition": 0},
    "items": [{"item_id": "i2", "score": 0.5}, {"item_id": "i3", "score": 0.25}],
}


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def content_type(self) -> str:
        return self.headers["content-type"]


def get(app: Any, path: str, query: str = "", method: str = "GET") -> Answer:
    """Ask an application as a server would, with a path that is decoded."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": []}
    asyncio.run(app(scope | {"http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)}, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:]), headers)


def append(path: Path, *several: object) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in several)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    append(tmp_path / "lists.jsonl", LIST)
    append(tmp_path / "related.jsonl", RELATED)
    return tmp_path / "lists.jsonl"


@pytest.fixture
def answers(lists: Path) -> Iterator[ServerState]:
    related = str(lists.with_name("related.jsonl"))
    with open_server_state(ServerUrls(str(lists), related, str(lists.with_name("store.sqlite"))), Config()) as answers:
        wait_until(lambda: all(reader.is_caught_up for reader in answers.readers))
        yield answers


def wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.01)


def test_a_list_is_answered_byte_for_byte_and_with_k_its_first_items(answers: ServerState) -> None:
    app = make_app(answers)
    for path, record in (("/recommendations/u1", LIST), ("/related/i1", RELATED)):
        answer = get(app, path)
        assert (answer.status, answer.body, answer.content_type) == (
            200,
            json.dumps(record).encode(),
            "application/json",
        )
    assert json.loads(get(app, "/recommendations/u1", "k=2").body) == LIST | {"items": ITEMS[:2]}
    assert json.loads(get(app, "/related/i1", "k=1").body) == RELATED | {"items": RELATED["items"][:1]}
    assert json.loads(get(app, "/recommendations/u1", "k=200").body) == LIST


@pytest.mark.parametrize(
    "user", ["a/b", "/", "//a", "a%2Fb", "%", "ü", "日本", "a b", "u?k=1", ".", "..", "a/../b", "\n"]
)
def test_an_id_may_be_any_text(lists: Path, answers: ServerState, user: str) -> None:
    app = make_app(answers)
    assert get(app, f"/recommendations/{user}").status == 404
    append(lists, LIST | {"user_id": user})
    wait_until(lambda: get(app, f"/recommendations/{user}").status == 200)
    assert json.loads(get(app, f"/recommendations/{user}").body)["user_id"] == user
    append(lists, {"key": user, "value": None})
    wait_until(lambda: get(app, f"/recommendations/{user}").status == 404)
    assert get(app, "/recommendations/u1").status == 200


@pytest.mark.parametrize(
    ("path", "query", "status", "sentence"),
    [
        ("/recommendations/u2", "", 404, "There is no list of the user 'u2'"),
        ("/recommendations/", "", 404, "There is no list of the user ''"),
        ("/recommendations/\udc80", "", 404, "There is no list of the user"),
        ("/related/u1", "", 404, "The item 'u1' has no related items"),
        ("/recommendations/u1", "k=0", 400, "k = '0' is not allowed: expected a whole number from 1 to 200."),
        ("/recommendations/u1", "k=201", 400, "k = '201' is not allowed"),
        ("/recommendations/u1", "k=2.0", 400, "k = '2.0' is not allowed"),
        ("/recommendations/u1", "k=%C2%B2", 400, "k = '²' is not allowed"),
        ("/recommendations/u1", "k=" + "9" * 5000, 400, "is not allowed"),
        ("/recommendations/u1", "k=" + "0" * 5000 + "1", 400, "is not allowed"),
        ("/recommendations/" + "u" * 5000, "", 404, f"of the user '{'u' * 100}':"),
        ("/recommendations", "", 404, "/recommendations is no path that is served"),
        ("/healthz/", "", 404, "/healthz/ is no path that is served"),
        ("/related/i1", "k=", 400, "k = '' is not allowed"),
        ("/elsewhere", "", 404, "/elsewhere is no path that is served"),
    ],
)
def test_what_cannot_be_answered_is_told_in_a_sentence(
    answers: ServerState, path: str, query: str, status: int, sentence: str
) -> None:
    answer = get(make_app(answers), path, query)
    assert (answer.status, answer.content_type) == (status, "application/json")
    assert sentence in msgspec.json.decode(answer.body, type=Problem).error


def test_what_is_unknown_to_this_version_stays_in_a_list_that_is_cut(lists: Path, answers: ServerState) -> None:
    newer = {
        "user_id": "u2",
        "new": {"a": 1.50},
        "items": [{"item_id": "i1", "new": 1e2}, {"item_id": "i2"}],
        "last": [],
    }
    append(lists, newer)
    app = make_app(answers)
    wait_until(lambda: get(app, "/recommendations/u2").status == 200)
    assert json.loads(get(app, "/recommendations/u2", "k=1").body) == newer | {"items": newer["items"][:1]}


def test_no_cache_on_the_way_may_keep_an_answer(answers: ServerState) -> None:
    app = make_app(answers)
    for path in ("/recommendations/u1", "/recommendations/none", "/related/i1", "/healthz", "/metrics", "/nowhere"):
        assert get(app, path).headers["cache-control"] == "no-store"


def test_the_api_is_read_only(answers: ServerState) -> None:
    assert get(make_app(answers), "/recommendations/u1", method="DELETE").status == 405
    assert get(make_app(answers), "/recommendations/u1").status == 200


def test_the_description_names_every_path_and_answers_are_of_its_types(answers: ServerState) -> None:
    app, told = make_app(answers), build_openapi()
    assert [re.sub(r":id", "", route.path) for route in app.routes] == list(told["paths"]) == list(PATHS)
    assert json.loads(get(app, "/openapi.json").body) == told
    types = {"Recommendations": Recommendations, "Related": Related, "Health": Health}
    for path, answer in told["paths"].items():
        asked = path.replace("{user}", "u1").replace("{item}", "i1")
        given = get(app, asked)
        ((content_type, content),) = answer["get"]["responses"][str(given.status)]["content"].items()
        assert given.content_type.startswith(content_type)
        name = content["schema"].get("$ref", "").removeprefix("#/components/schemas/")
        if name:
            assert set(json.loads(given.body)) <= set(told["components"]["schemas"][name]["properties"])
            msgspec.json.decode(given.body, type=types[name])
    refs = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(told)))
    assert refs <= told["components"]["schemas"].keys()
    missing = {name for path in told["paths"] for name in re.findall(r"\{(\w+)\}", path)}
    assert missing == {"user", "item"}


def test_the_description_is_valid_openapi_and_answers_are_valid_under_it(answers: ServerState) -> None:
    app, told = make_app(answers), build_openapi()
    validate(told)
    for path, asked in (("/recommendations/{user}", "u1"), ("/related/{item}", "i1"), ("/healthz", "")):
        answer = get(app, re.sub(r"\{.*\}", asked, path))
        schema = told["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        OAS31Validator(schema | {"components": told["components"]}).validate(json.loads(answer.body))
    with pytest.raises(ValidationError):
        OAS31Validator(schema | {"components": told["components"]}).validate({"status": "fine"})


def test_health_says_how_far_the_inputs_are_read_and_metrics_count_what_was_asked(
    lists: Path, answers: ServerState
) -> None:
    app = make_app(answers)
    append(lists, {"no": "list"}, {"key": "u1", "value": None})
    wait_until(lambda: answers.readers[0].n_skipped == 1)
    assert get(app, "/recommendations/u1").status == 404
    health = msgspec.json.decode(get(app, "/healthz").body, type=Health)
    assert (health.status, health.users, health.items) == ("ok", 0, 1)
    of_lists, of_related = health.inputs
    assert (of_lists.records, of_lists.tombstones, of_lists.skipped, of_lists.behind) == (2, 1, 1, 0)
    assert (of_related.records, of_related.failure) == (1, None)
    assert of_related.staleness_s is not None
    text = get(app, "/metrics").body.decode()
    samples = {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    }
    assert not any("_created" in name for name in samples)
    assert samples['freshflow_serve_input_tombstones_total{kind="recommendations"}'] == 1
    assert samples['freshflow_serve_requests_total{path="/healthz",status="200"}'] == 1
    asked = samples['freshflow_serve_requests_total{path="/recommendations/{user}",status="404"}']
    assert samples['freshflow_serve_request_seconds_count{path="/recommendations/{user}"}'] == asked
    assert samples['freshflow_serve_request_seconds_bucket{le="+Inf",path="/recommendations/{user}"}'] == asked
    assert samples['freshflow_serve_list_age_seconds_count{kind="recommendations"}'] == 0  # it was all there before
    append(lists, LIST | {"computed_at": time.time_ns() // 1_000_000 - 3_000})
    wait_until(lambda: answers.readers[0].n_records == 3)
    text = get(app, "/metrics").body.decode()
    assert 'freshflow_serve_list_age_seconds_bucket{kind="recommendations",le="2.5"} 0.0' in text
    assert 'freshflow_serve_list_age_seconds_bucket{kind="recommendations",le="600.0"} 1.0' in text


def test_an_input_that_can_no_longer_be_read_fails_the_health_and_lists_are_served_on(
    lists: Path, answers: ServerState
) -> None:
    app = make_app(answers)
    lists.unlink()
    lists.mkdir()
    wait_until(lambda: get(app, "/healthz").status == 503)
    health = msgspec.json.decode(get(app, "/healthz").body, type=Health)
    assert health.status == "failed"
    assert "cannot be read: Is a directory" in (health.inputs[0].failure or "")
    assert get(app, "/recommendations/u1").status == 200


def test_what_cannot_be_stored_fails_the_health_and_is_stored_once_it_can(
    lists: Path, answers: ServerState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freshflow.serving.reader.RETRY_S", 0.05)
    app = make_app(answers)
    store = sqlite3.connect(lists.with_name("store.sqlite"))
    store.execute("CREATE TRIGGER full BEFORE UPDATE ON recommendations BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    store.commit()
    append(lists, LIST | {"computed_at": 7})
    wait_until(lambda: get(app, "/healthz").status == 503)
    assert (
        "cannot be written: disk is full; free disk space"
        in json.loads(get(app, "/healthz").body)["inputs"][0]["failure"]
    )
    append(lists, LIST | {"user_id": "u2"})
    assert json.loads(get(app, "/recommendations/u1").body)["computed_at"] == 2
    store.execute("DROP TRIGGER full")
    store.close()
    wait_until(lambda: get(app, "/recommendations/u2").status == 200)
    assert json.loads(get(app, "/recommendations/u1").body)["computed_at"] == 7
    wait_until(lambda: get(app, "/healthz").status == 200)


def test_a_store_that_cannot_be_read_is_told_to_who_asks(answers: ServerState) -> None:
    app = make_app(answers)
    answers.list_reader.close()
    answer = get(app, "/recommendations/u1")
    assert answer.status == 503
    assert re.search("The store .* cannot be read: ", msgspec.json.decode(answer.body, type=Problem).error)


def test_who_listens_hears_of_every_change_once_it_can_be_read(lists: Path, answers: ServerState) -> None:
    async def listen() -> list[tuple[str, str, bool]]:
        heard: list[tuple[str, str, bool]] = []
        with answers.broadcast.subscribe() as updates:
            append(lists, LIST | {"user_id": "u2"}, {"key": "u1", "value": None})
            while len(heard) < 2:
                for kind, change in await asyncio.wait_for(updates.wait_for_updates(), 30):
                    assert (answers.list_reader.get_list("recommendations", change.key) is None) == (
                        change.value is None
                    )
                    heard.append((kind, change.key, change.value is None))
        return heard

    assert asyncio.run(listen()) == [("recommendations", "u2", False), ("recommendations", "u1", True)]
    append(lists, LIST | {"user_id": "u3"})  # nobody listens any more
    wait_until(lambda: answers.list_reader.get_list("recommendations", "u3") is not None)


def test_a_listener_that_is_slow_misses_the_oldest(answers: ServerState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshflow.serving.broadcast.MAX_PENDING_UPDATES", 3)

    async def listen() -> tuple[list[str], int]:
        with answers.broadcast.subscribe() as updates:
            answers.broadcast.send("related", [ListChange(f"i{n}", b"{}") for n in range(5)])
            return [
                update.change.key for update in await asyncio.wait_for(updates.wait_for_updates(), 30)
            ], updates.n_missed

    assert asyncio.run(listen()) == (["i2", "i3", "i4"], 2)
