"""The live page: its files, and what happens as server-sent events.

`GET /live` is one stream with everything: lists of the user that the query names (`?user=`), or of whoever was updated
last; figures every second; lines over time as they grow. Each is an event with a JSON object.
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

from freshflow.config.schema import KafkaConfig
from freshflow.errors import OutputError
from freshflow.serving.app import Serving
from freshflow.serving.broadcast import Update
from freshflow.serving.dashboard.collector import KIND, Sources, Watch, watching
from freshflow.serving.dashboard.demo_shop import Click, Shop
from freshflow.serving.responses import Problem

__all__ = ["Following", "live_page", "page_routes", "stream"]

FIGURES_S = 1.0
LINES_S = 2.0  # from one drawing of lines to the next at least
LISTS_S = 0.2  # from one list to the next: more than this nobody could read
STAY_S = 4.0  # with a user, where whoever was updated last is followed
LONGEST = 1_000  # bytes of a click
STORE = "store"  # whose failures these are

# Everything comes from this server, and nothing that is shown can become a script, a style, a frame or a form.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PAGE = {  # by path: the file and its type
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Following:
    """Which list is to be shown next: of one user, or of whoever was updated last, but not of another every moment."""

    def __init__(self, user: str | None) -> None:
        self._only = user
        self._shown = user
        self._since_s = float("-inf")
        self._sent_s = float("-inf")
        self._next: str | None = None  # whose list has changed and is not shown yet
        self._other: str | None = None  # likewise, of another user than the one that is shown

    def show(self, user: str, now_s: float) -> None:
        """The list of this user is shown."""
        if user != self._shown:
            self._shown, self._since_s = user, now_s
        self._next, self._sent_s = None, now_s

    def take(self, updates: Iterable[Update]) -> None:
        """Lists have changed."""
        for kind, change in updates:
            if kind != KIND:
                continue
            if change.key == self._shown:
                self._next = change.key
            elif self._only is None and change.value is not None:
                self._other = change.key

    def due_s(self, now_s: float) -> float | None:
        """In how many seconds there is a list to show; None if not before another one changes."""
        own = None if self._next is None else self._sent_s + LISTS_S - now_s
        other = None if self._other is None else self._since_s + STAY_S - now_s
        waits = [max(0.0, wait) for wait in (own, other) if wait is not None]
        return min(waits, default=None)

    def next(self, now_s: float) -> str | None:
        """The user whose list is to be shown now."""
        if self.due_s(now_s) != 0:
            return None
        user = self._shown
        if self._other is not None and self._since_s + STAY_S <= now_s:
            user, self._other = self._other, None
        assert user is not None  # whose list would be due?
        self.show(user, now_s)
        return user


async def stream(
    serving: Serving, watch: Watch, user: str | None, about: dict[str, Any], is_ending: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The events of `GET /live`, until the server ends."""
    following = Following(user)
    with serving.broadcast.listening() as updates:
        yield _event("about", about)
        first = user if user is not None else watch.latest_user()
        if first is not None:
            following.show(first, time.monotonic())
            yield await _list(serving, watch, first)
        figures_at = lines_at = time.monotonic()
        drawn: tuple[int, int] | None = None
        while not is_ending():
            now_s = time.monotonic()
            if now_s >= figures_at:
                yield _event("figures", watch.figures() | _health(serving, watch))
                figures_at = now_s + FIGURES_S
            if now_s >= lines_at and watch.version != drawn:
                drawn, lines_at = watch.version, now_s + LINES_S
                yield _event("lines", watch.lines())
            shown = following.next(now_s)
            if shown is not None:
                yield await _list(serving, watch, shown)
            wait_s = min(figures_at - now_s, following.due_s(now_s) or FIGURES_S)
            try:
                following.take(await asyncio.wait_for(updates.next(), max(0.01, wait_s)))
            except TimeoutError:
                continue


def page_routes(serving: Serving, watch: Watch, shop: Shop | None) -> tuple[BaseRoute, ...]:
    """The page, what it listens to, and where clicks go if there is a shop."""
    about = {
        "lists": [reader.place for reader in serving.readers if reader.input.kind == KIND],
        "metrics": watch.sources.metrics,
        "dead_letters": watch.sources.dead_letters,
        "visitor": None if shop is None else shop.visitor,
    }

    async def live(request: Request) -> Response:
        ends = getattr(request.app.state, "is_ending", lambda: False)
        told = stream(serving, watch, request.query_params.get("user"), about, ends)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)

    routes = [Route(path, _file(*of), methods=["GET"]) for path, of in PAGE.items()]
    routes.append(Route("/live", live, methods=["GET"]))
    if shop is not None:
        routes += [
            Route("/live/shop", _window(shop), methods=["GET"]),
            Route("/live/clicks", _clicks(shop), methods=["POST"]),
        ]
    return tuple(routes)


@contextmanager
def live_page(
    serving: Serving, sources: Sources, kafka: KafkaConfig, clock: Callable[[], int], shop: Shop | None = None
) -> Iterator[tuple[BaseRoute, ...]]:
    """The routes of the page, which is kept up to date for as long as the block runs.

    Raises a `FreshFlowError` if metrics or dead letters cannot be read.
    """
    with watching(serving, sources, kafka, clock) as watch:
        yield page_routes(serving, watch, shop)


async def _list(serving: Serving, watch: Watch, user: str) -> bytes:
    """The list of a user as it is now; without one also while the store does not answer, which figures tell."""
    reading, value = serving.reading, None
    try:
        value = await to_thread(reading.value, KIND, user) if reading.waits else reading.value(KIND, user)
        watch.failures.pop(STORE, None)
    except OutputError as error:
        watch.failures[STORE] = str(error)
    shown = None if value is None else msgspec.Raw(value)
    return _event("list", {"user": user, "now_ms": watch.clock(), "list": shown})


def _health(serving: Serving, watch: Watch) -> dict[str, Any]:
    """Whether the lists there were at the start have been read, and what is not read any longer."""
    failed = [reader.failure for reader in serving.readers if reader.failure is not None]
    return {
        "caught_up": all(reader.caught_up for reader in serving.readers),
        "failures": [*failed, *watch.failures.values()],
    }


def _event(name: str, about: dict[str, Any]) -> bytes:
    text = msgspec.json.encode(about)
    for end in (b"\n", b"\r"):  # which are space between tokens, if they are in a list as it was written
        text = text.replace(end, b" ")
    return b"event: %b\ndata: %b\n\n" % (name.encode(), text)


def _file(name: str, content_type: str) -> Callable[[Request], Any]:
    content = (files("freshflow.serving.dashboard") / "page" / name).read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, headers=HEADERS | {"Content-Type": content_type})

    return answer


def _window(shop: Shop) -> Callable[[Request], Any]:
    text = msgspec.json.encode(
        {"visitor": shop.visitor, "in_window": shop.in_window, "items": list(shop.items.values())}
    )

    async def answer(request: Request) -> Response:
        return Response(text, media_type="application/json", headers={"Cache-Control": "no-store"})

    return answer


def _clicks(shop: Shop) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        # Another site's page can send neither without asking first, which is not answered.
        if request.headers.get("content-type") != "application/json":
            return _refused(415, "A click is application/json.")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return _refused(403, "Clicks are taken from the page alone.")
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST:
                return _refused(413, f"A click has at most {LONGEST} bytes.")
        try:
            click = msgspec.json.decode(body, type=Click)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _refused(400, f"This is no click: {error}.")
        happened_ms = shop.click(click)
        if happened_ms is None:
            return _refused(404, f"There is no item {click.item_id!r} in this shop.")
        return Response(msgspec.json.encode({"ts": happened_ms}), 202, media_type="application/json")

    return answer


def _refused(status: int, sentence: str) -> Response:
    return Response(msgspec.json.encode(Problem(sentence)), status, media_type="application/json")
