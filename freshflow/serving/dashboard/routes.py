"""Routes of the live page: its files, and a stream of server-sent events.

`GET /live` streams the lists of one user (`?user=`), or else of the latest updated user; the figures every second; and
the chart series as they grow. Each event carries a JSON object.
"""

import asyncio
import time
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from freshflow.config.schema import Config
from freshflow.errors import OutputError
from freshflow.serving.app import ServerState
from freshflow.serving.broadcast import Update
from freshflow.serving.dashboard.collector import (
    DASHBOARD_LIST_KIND,
    DashboardCollector,
    DashboardSources,
    run_collector,
)
from freshflow.serving.dashboard.demo_shop import Click, DemoShop
from freshflow.serving.responses import Problem

STATUS_INTERVAL_S = 1.0
CHART_INTERVAL_S = 2.0  # least time between two updates of the charts
LIST_INTERVAL_S = 0.2  # least time between two lists; faster updates are unreadable
USER_SWITCH_INTERVAL_S = 4.0  # least time on one user when following the latest update
MAX_CLICK_BYTES = 1_000  # bytes of a request body
STORE_FAILURE_KEY = "store"  # key of the store's failure among those of the collector

# All content comes from this server, and shown data cannot become a script, a style, a frame or a form.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PAGE_FILES = {  # by path: the file and its type
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}


class DisplayedUserSelector:
    """Choice of the next user to display: a fixed user, or the latest updated one, switched at a limited rate."""

    def __init__(self, user: str | None) -> None:
        self._fixed_user = user
        self._current_user = user
        self._current_since_s = float("-inf")
        self._last_sent_s = float("-inf")
        self._pending_user: str | None = None  # the current user, if the list has changed since it was sent
        self._candidate_user: str | None = None  # the latest updated other user

    def mark_displayed(self, user: str, now_s: float) -> None:
        """Record that the list of this user was sent."""
        if user != self._current_user:
            self._current_user, self._current_since_s = user, now_s
        self._pending_user, self._last_sent_s = None, now_s

    def add_updates(self, updates: Iterable[Update]) -> None:
        """Add changes of lists."""
        for kind, change in updates:
            if kind != DASHBOARD_LIST_KIND:
                continue
            if change.key == self._current_user:
                self._pending_user = change.key
            elif self._fixed_user is None and change.value is not None:
                self._candidate_user = change.key

    def due_in_s(self, now_s: float) -> float | None:
        """Return the seconds until the next list is due; None if none is pending."""
        pending_wait_s = None if self._pending_user is None else self._last_sent_s + LIST_INTERVAL_S - now_s
        candidate_wait_s = (
            None if self._candidate_user is None else self._current_since_s + USER_SWITCH_INTERVAL_S - now_s
        )
        waits_s = [max(0.0, wait_s) for wait_s in (pending_wait_s, candidate_wait_s) if wait_s is not None]
        return min(waits_s, default=None)

    def pop_due_user(self, now_s: float) -> str | None:
        """Return the next user if a list is due now, and mark it as sent; else None."""
        if self.due_in_s(now_s) != 0:
            return None
        user = self._current_user
        if self._candidate_user is not None and self._current_since_s + USER_SWITCH_INTERVAL_S <= now_s:
            user, self._candidate_user = self._candidate_user, None
        assert user is not None  # a due list belongs to a user
        self.mark_displayed(user, now_s)
        return user


async def stream_events(
    state: ServerState,
    collector: DashboardCollector,
    user: str | None,
    page_info: dict[str, Any],
    is_ending: Callable[[], bool],
) -> AsyncIterator[bytes]:
    """Yield the events of `GET /live` until the server ends.

    Args:
        state: The server state.
        collector: The source of figures and charts.
        user: The user to follow; None follows the latest updated one.
        page_info: The content of the first event.
        is_ending: Returns True once the server shuts down.
    """
    selector = DisplayedUserSelector(user)
    with state.broadcast.subscribe() as subscription:
        yield _sse_event("about", page_info)
        first_user = user if user is not None else collector.latest_user()
        if first_user is not None:
            selector.mark_displayed(first_user, time.monotonic())
            yield await _list_event(state, collector, first_user)
        next_status_s = next_chart_s = time.monotonic()
        sent_version: tuple[int, int] | None = None
        while not is_ending():
            now_s = time.monotonic()
            if now_s >= next_status_s:
                yield _sse_event("figures", collector.current_values() | _health_values(state, collector))
                next_status_s = now_s + STATUS_INTERVAL_S
            if now_s >= next_chart_s and collector.version != sent_version:
                sent_version, next_chart_s = collector.version, now_s + CHART_INTERVAL_S
                yield _sse_event("lines", collector.chart_series())
            due_user = selector.pop_due_user(now_s)
            if due_user is not None:
                yield await _list_event(state, collector, due_user)
            wait_s = min(next_status_s - now_s, selector.due_in_s(now_s) or STATUS_INTERVAL_S)
            try:
                selector.add_updates(await asyncio.wait_for(subscription.wait_for_updates(), max(0.01, wait_s)))
            except TimeoutError:
                continue


def page_routes(state: ServerState, collector: DashboardCollector, shop: DemoShop | None) -> tuple[BaseRoute, ...]:
    """Build the routes of the page, its event stream and, if there is a shop, its clicks."""
    page_info = {
        "lists": [reader.source_url for reader in state.readers if reader.input.kind == DASHBOARD_LIST_KIND],
        "metrics": collector.sources.metrics,
        "dead_letters": collector.sources.dead_letters,
        "visitor": None if shop is None else shop.visitor,
    }

    async def live(request: Request) -> Response:
        is_ending = getattr(request.app.state, "is_ending", lambda: False)
        events = stream_events(state, collector, request.query_params.get("user"), page_info, is_ending)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    routes = [Route(path, _page_file_handler(*file_spec), methods=["GET"]) for path, file_spec in PAGE_FILES.items()]
    routes.append(Route("/live", live, methods=["GET"]))
    if shop is not None:
        routes += [
            Route("/live/shop", _shop_handler(shop), methods=["GET"]),
            Route("/live/clicks", _click_handler(shop), methods=["POST"]),
        ]
    return tuple(routes)


@contextmanager
def live_page(
    state: ServerState,
    sources: DashboardSources,
    config: Config,
    clock: Callable[[], int],
    shop: DemoShop | None = None,
) -> Iterator[tuple[BaseRoute, ...]]:
    """Yield the routes of the page; its collector runs until the block ends.

    Args:
        state: The server state.
        sources: The URLs of metrics and dead letters.
        config: The settings of the inputs.
        clock: Returns the time in epoch milliseconds.
        shop: The demo shop, if there is one.

    Raises:
        FreshFlowError: If metrics or dead letters cannot be read.
    """
    with run_collector(state, sources, config, clock) as collector:
        yield page_routes(state, collector, shop)


async def _list_event(state: ServerState, collector: DashboardCollector, user: str) -> bytes:
    """Encode a user's current list; it is null if there is none or the store fails, which the figures report."""
    list_reader, value = state.list_reader, None
    try:
        value = (
            await to_thread(list_reader.get_list, DASHBOARD_LIST_KIND, user)
            if list_reader.is_blocking
            else list_reader.get_list(DASHBOARD_LIST_KIND, user)
        )
        collector.failures.pop(STORE_FAILURE_KEY, None)
    except OutputError as error:
        collector.failures[STORE_FAILURE_KEY] = str(error)
    list_json = None if value is None else msgspec.Raw(value)
    return _sse_event("list", {"user": user, "now_ms": collector.clock(), "list": list_json})


def _health_values(state: ServerState, collector: DashboardCollector) -> dict[str, Any]:
    failures = [reader.failure for reader in state.readers if reader.failure is not None]
    return {
        "caught_up": all(reader.is_caught_up for reader in state.readers),
        "failures": [*failures, *collector.failures.values()],
    }


def _sse_event(name: str, payload: dict[str, Any]) -> bytes:
    text = msgspec.json.encode(payload)
    for line_break in (b"\n", b"\r"):  # inside JSON text, raw line breaks occur only between tokens
        text = text.replace(line_break, b" ")
    return b"event: %b\ndata: %b\n\n" % (name.encode(), text)


def _page_file_handler(name: str, content_type: str) -> Callable[[Request], Any]:
    content = (files("freshflow.serving.dashboard") / "page" / name).read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, headers=PAGE_HEADERS | {"Content-Type": content_type})

    return answer


def _shop_handler(shop: DemoShop) -> Callable[[Request], Any]:
    text = msgspec.json.encode(
        {"visitor": shop.visitor, "in_window": shop.window_item_ids, "items": list(shop.items.values())}
    )

    async def answer(request: Request) -> Response:
        return Response(text, media_type="application/json", headers={"Cache-Control": "no-store"})

    return answer


def _click_handler(shop: DemoShop) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        # A page of another site can send these only after a CORS preflight, which is not answered.
        if request.headers.get("content-type") != "application/json":
            return _error_response(415, "A click is application/json.")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return _error_response(403, "Clicks are accepted only from the page itself.")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_CLICK_BYTES:
                return _error_response(413, f"A click has at most {MAX_CLICK_BYTES} bytes.")
        try:
            click = msgspec.json.decode(body, type=Click)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _error_response(400, f"The body is not a click: {error}.")
        event_ts = shop.send_click(click)
        if event_ts is None:
            return _error_response(404, f"There is no item {click.item_id!r} in this shop.")
        return Response(msgspec.json.encode({"ts": event_ts}), 202, media_type="application/json")

    return answer


def _error_response(status: int, message: str) -> Response:
    return Response(msgspec.json.encode(Problem(message)), status, media_type="application/json")
