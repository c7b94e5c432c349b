"""What the live page is served: its files, the stream of events, and where clicks go."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from freshflow.config.schema import Config
from freshflow.serving.app import ServerState, make_app
from freshflow.serving.broadcast import Update
from freshflow.serving.dashboard.collector import (
    MAX_DEAD_LETTERS,
    MAX_LISTED_USERS,
    DashboardCollector,
    DashboardSources,
    run_collector,
)
from freshflow.serving.dashboard.demo_shop import DemoShop, ShopItem
from freshflow.serving.dashboard.routes import (
    LIST_INTERVAL_S,
    PAGE_FILES,
    USER_SWITCH_INTERVAL_S,
    DisplayedUserSelector,
    live_page,
    stream_events,
)
from freshflow.serving.records import ListChange
from freshflow.serving.server import ServerUrls, open_server_state, system_time_ms
from tests.serving.dashboard.test_history import report
from tests.serving.test_app import LIST, append, get, wait_until

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u2028\r\n\nevent: list\ndata: {}\n\n"


def update(user: str, value: bytes | None = b"{}") -> Update:
    return Update("recommendations", ListChange(user, value))


# Which list is shown next


def test_of_one_user_every_change_is_shown_but_not_too_many_a_second() -> None:
    following = DisplayedUserSelector("u1")
    following.add_updates([update("u2"), update("u1"), update("u1"), Update("related", ListChange("u1", b"{}"))])
    assert following.pop_due_user(10.0) == "u1"
    following.add_updates([update("u2")])
    assert following.due_in_s(10.1) is None
    following.add_updates([update("u1")])
    assert following.due_in_s(10.0) == pytest.approx(LIST_INTERVAL_S)
    assert following.pop_due_user(10.0 + LIST_INTERVAL_S / 2) is None
    assert following.pop_due_user(10.0 + LIST_INTERVAL_S) == "u1"
    assert following.pop_due_user(99.0) is None


def test_that_a_user_is_forgotten_is_shown_to_who_looks_at_them() -> None:
    following = DisplayedUserSelector("u1")
    following.add_updates([update("u1", None)])
    assert following.pop_due_user(1.0) == "u1"


def test_who_follows_the_latest_stays_with_a_user_for_a_while_and_sees_what_changes() -> None:
    following = DisplayedUserSelector(None)
    following.add_updates([update("u1"), update("u2"), update("u3", None)])
    assert following.pop_due_user(10.0) == "u2"
    following.add_updates([update("u1"), update("u2")])
    assert following.pop_due_user(10.0 + LIST_INTERVAL_S) == "u2"
    assert following.due_in_s(11.0) == pytest.approx(USER_SWITCH_INTERVAL_S - 1.0)
    assert following.pop_due_user(9.9 + USER_SWITCH_INTERVAL_S) is None
    following.add_updates([update("u3")])
    assert following.pop_due_user(10.0 + USER_SWITCH_INTERVAL_S) == "u3"
    assert following.due_in_s(99.0) is None


def test_what_was_shown_at_first_counts_as_shown() -> None:
    following = DisplayedUserSelector(None)
    following.mark_displayed("u1", 10.0)
    following.add_updates([update("u2")])
    assert following.pop_due_user(10.1) is None
    assert following.pop_due_user(10.0 + USER_SWITCH_INTERVAL_S) == "u2"


# What is gathered


def test_a_watch_counts_lists_latencies_and_users() -> None:
    watch = DashboardCollector(DashboardSources(), lambda: 100_000)
    lists = [{"cause": "interaction", "event_ts": 99_000 + n, "computed_at": 99_010 + n} for n in range(100)]
    lists.append({"cause": "refresh", "event_ts": 1, "computed_at": 99_500})
    lists.append({"cause": "interaction", "event_ts": 1, "computed_at": 99_500})
    watch.add_updates(
        [*(update(f"u{n}", json.dumps(one).encode()) for n, one in enumerate(lists)), update("u50", None)]
    )
    watch.add_updates([update("x" * 1_000, json.dumps(lists[0]).encode()), Update("related", ListChange("i1", b"[]"))])
    figures = watch.current_values()
    assert (figures["lists"], figures["archived"]) == (10.3, 1)
    assert figures["latency"]["made_p50"] == 10
    assert figures["latency"]["shown_p50"] == 951
    assert figures["users"][:2] == ["u101", "u100"]
    assert len(figures["users"]) == MAX_LISTED_USERS
    assert "u50" not in figures["users"]  # who was forgotten
    assert watch.latest_user() == "u101"
    assert (figures["events"], figures["dead_letters"], figures["partitions"]) == (None, None, [])


def test_dead_letters_are_counted_and_the_latest_shown() -> None:
    watch = DashboardCollector(DashboardSources(dead_letters="letters.jsonl"), lambda: 100_000)
    letter = {"code": "not_json", "source": {"file": "-", "line": 3}, "raw": HOSTILE}
    letters = [letter | {"reason": f"{n} " + "x" * 999, "rejected_at": 95_000} for n in range(20)]
    watch.add_dead_letters([b"no letter", b"\xff", *(json.dumps(one).encode() for one in letters)])
    figures = watch.current_values()
    assert (figures["dead_letters"], figures["refusals"]) == (2.0, 20)
    assert [one.reason[:2] for one in figures["letters"]] == [f"{19 - n}" for n in range(MAX_DEAD_LETTERS)]
    assert all(len(one.reason) == 300 for one in figures["letters"])


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[ServerState]:
    append(tmp_path / "lists.jsonl", LIST)
    with open_server_state(
        ServerUrls(str(tmp_path / "lists.jsonl"), None, str(tmp_path / "store.sqlite")), Config()
    ) as answers:
        wait_until(lambda: all(reader.is_caught_up for reader in answers.readers))
        yield answers


@contextmanager
def page(
    answers: ServerState, sources: DashboardSources | None = None, shop: DemoShop | None = None
) -> Iterator[Starlette]:
    with live_page(answers, sources or DashboardSources(), Config(), system_time_ms, shop) as routes:
        yield make_app(answers, routes)


def test_metrics_and_dead_letters_are_read_as_they_grow_and_failures_told(tmp_path: Path, answers: ServerState) -> None:
    sources = DashboardSources(str(tmp_path / "metrics.jsonl"), str(tmp_path / "letters.jsonl"))
    with run_collector(answers, sources, Config(), system_time_ms) as watch:
        (tmp_path / "metrics.jsonl").write_bytes(report(1000, 1, 1) + b"\n" + report(2000, 501, 2) + b"\n")
        wait_until(lambda: bool(watch.chart_series()["quality"]))
        assert watch.chart_series()["quality"][0].hr20 == 0.5
        append(tmp_path / "letters.jsonl", {"reason": "r", "code": "c", "source": {}, "rejected_at": system_time_ms()})
        wait_until(lambda: watch.current_values()["refusals"] == 1)
        append(tmp_path / "lists.jsonl", LIST | {"user_id": "u2", "computed_at": system_time_ms()})
        wait_until(lambda: watch.latest_user() == "u2")
        (tmp_path / "letters.jsonl").unlink()
        (tmp_path / "letters.jsonl").mkdir()
        wait_until(lambda: bool(watch.failures))
        (heard,) = [
            told for name, told in stream_of(answers, watch, "u1", lambda heard: len(heard) > 2) if name == "figures"
        ]
        assert heard["caught_up"]
        assert "letters.jsonl cannot be read: Is a directory." in heard["failures"][0]


# The stream

Heard = list[tuple[str, Any]]


def stream_of(
    answers: ServerState, watch: DashboardCollector, user: str | None, enough: Callable[[Heard], bool]
) -> Heard:
    """What the stream says until that is enough."""

    async def listen() -> Heard:
        heard: Heard = []
        async for text in stream_events(answers, watch, user, {"metrics": None}, lambda: enough(heard)):
            found = re.fullmatch(r"event: (\w+)\ndata: ([^\r\n]*)\n\n", text.decode())
            assert found is not None, text
            heard.append((found[1], json.loads(found[2])))
        return heard

    return asyncio.run(asyncio.wait_for(listen(), 30))


def test_the_stream_tells_what_is_there_and_then_what_changes(tmp_path: Path, answers: ServerState) -> None:
    appended: list[bool] = []

    def enough(heard: Heard) -> bool:
        if len(heard) >= 3 and not appended:
            appended.append(True)
            append(tmp_path / "lists.jsonl", LIST | {"user_id": "u2"}, LIST | {"items": []})
        return any(name == "list" and told["list"]["items"] == [] for name, told in heard)

    with run_collector(answers, DashboardSources(), Config(), system_time_ms) as watch:
        heard = stream_of(answers, watch, "u1", enough)
    assert heard[0] == ("about", {"metrics": None})
    lists = [about for name, about in heard if name == "list"]
    assert [about["list"] for about in lists] == [LIST, LIST | {"items": []}]
    assert {name for name, _ in heard} == {"about", "list", "figures", "lines"}


def test_who_has_no_list_yet_is_told_so(answers: ServerState) -> None:
    watch = DashboardCollector(DashboardSources(), system_time_ms)
    heard = stream_of(answers, watch, "nobody", lambda heard: len(heard) > 1)
    assert heard[1][0] == "list"
    assert (heard[1][1]["user"], heard[1][1]["list"]) == ("nobody", None)


def test_an_id_cannot_leave_its_event(tmp_path: Path, answers: ServerState) -> None:
    text = json.dumps(LIST | {"user_id": HOSTILE}, indent=1).replace("\n", "\r")  # as another writer might
    with (tmp_path / "lists.jsonl").open("a", newline="") as file:
        file.write(text + "\n")
    wait_until(lambda: answers.list_reader.get_list("recommendations", HOSTILE) is not None)
    heard = stream_of(
        answers, DashboardCollector(DashboardSources(), system_time_ms), HOSTILE, lambda heard: len(heard) > 3
    )
    assert [about["list"]["user_id"] for name, about in heard if name == "list"] == [HOSTILE]


# The page


def test_the_page_and_what_it_needs_come_from_here_and_run_nothing_else(answers: ServerState) -> None:
    with page(answers) as app:
        html = get(app, "/").body.decode()
        wanted = set(re.findall(r'(?:href|src)="([^"]+)"', html)) - {"#list"}
        assert {"/page/style.css", "/page/page.js", "/page/icon.svg"} < wanted
        assert all(path.startswith("/") and get(app, path).status == 200 for path in wanted)
    assert re.findall(r"<script(?![^>]*src)|<style|\son\w+=|style=", html) == []
    assert (
        set(re.findall(r"url\((.*?)\)|@import", (files("freshflow.serving.dashboard") / "page/style.css").read_text()))
        == set()
    )
    script = (files("freshflow.serving.dashboard") / "page/page.js").read_text()
    assert re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|https?://(?!www\.w3)", script) == []


@pytest.mark.parametrize("path", PAGE_FILES)
def test_headers_let_nothing_in_from_elsewhere(answers: ServerState, path: str) -> None:
    with page(answers) as app:
        headers = headers_of(app, path)
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_api_is_as_it_was(answers: ServerState) -> None:
    with page(answers) as app:
        assert json.loads(get(app, "/recommendations/u1").body) == LIST
        assert get(app, "/page/server.py").status == get(app, "/page/../live.py").status == 404
        assert get(app, "/live/shop").status == 404
        assert post(app, b"{}")[0] == 404


# The shop


@pytest.fixture
def shop() -> tuple[DemoShop, list[dict[str, Any]]]:
    sent: list[dict[str, Any]] = []
    items = [ShopItem("i1", "Amber mugs", "kitchen", 3.5), ShopItem("i2", "Blue mugs", "kitchen", 4.0)]
    return DemoShop("you", items, ["i2"], lambda raw: sent.append(json.loads(raw)), lambda: 1_000), sent


def test_a_click_becomes_an_event_and_no_two_have_one_time(
    answers: ServerState, shop: tuple[DemoShop, list[dict[str, Any]]]
) -> None:
    window, sent = shop
    with page(answers, shop=window) as app:
        assert json.loads(get(app, "/live/shop").body)["in_window"] == ["i2"]
        assert post(app, b'{"item_id": "i2"}') == (202, {"ts": 1_000})
        assert post(app, b'{"item_id": "i1", "type": "purchase"}') == (202, {"ts": 1_001})
    assert sent == [
        {"type": "view", "user_id": "you", "item_id": "i2", "ts": 1_000},
        {"type": "purchase", "user_id": "you", "item_id": "i1", "ts": 1_001},
    ]


@pytest.mark.parametrize(
    ("body", "headers", "status", "sentence"),
    [
        (b'{"item_id": "i3"}', {}, 404, "There is no item 'i3' in this shop."),
        (b'{"item_id": "i1", "type": "forget"}', {}, 400, "The body is not a click: Invalid enum value 'forget'"),
        (b'{"item_id": "i1", "user_id": "u1"}', {}, 400, "unknown field"),
        (b'{"item_id": 1}', {}, 400, "The body is not a click"),
        (b"{", {}, 400, "The body is not a click"),
        (b'"\xff"', {}, 400, "The body is not a click"),
        (b'{"item_id": "%s"}' % (b"i" * 1_000), {}, 413, "A click has at most 1000 bytes."),
        (b'{"item_id": "i1"}', {"content-type": "text/plain"}, 415, "A click is application/json."),
        (b'{"item_id": "i1"}', {"sec-fetch-site": "cross-site"}, 403, "Clicks are accepted only from the page itself."),
    ],
)
def test_what_is_no_click_of_the_page_is_refused(
    answers: ServerState,
    shop: tuple[DemoShop, list[dict[str, Any]]],
    body: bytes,
    headers: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    window, sent = shop
    with page(answers, shop=window) as app:
        answer = post(app, body, headers)
    assert answer[0] == status
    assert sentence in answer[1]["error"]
    assert sent == []


def post(app: Any, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """Send a click."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    told = {"content-type": "application/json"} | (headers or {})
    raw = [(name.encode(), value.encode()) for name, value in told.items()]
    scope = {"type": "http", "method": "POST", "path": "/live/clicks", "query_string": b"", "headers": raw}
    asyncio.run(app(scope | {"http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)}, receive, send))
    return sent[0]["status"], json.loads(b"".join(one.get("body", b"") for one in sent[1:]))


def headers_of(app: Any, path: str) -> dict[str, str]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    asyncio.run(app(scope | {"http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)}, receive, send))
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}
