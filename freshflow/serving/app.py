"""The HTTP interface: a list is answered as it was published, so that most requests decode nothing."""

import re
import time
from asyncio import to_thread
from collections.abc import Awaitable, Callable

import msgspec
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from freshflow.errors import OutputError
from freshflow.serving.broadcast import Broadcast
from freshflow.serving.metrics import Figures
from freshflow.serving.openapi import MOST_ITEMS, PATHS, description
from freshflow.serving.reader import Reader
from freshflow.serving.records import first_items
from freshflow.serving.responses import Health, Kind, Problem
from freshflow.serving.store import Reading

__all__ = ["Serving", "health_of", "make_app"]

JSON = "application/json"
K = re.compile("[1-9][0-9]{0,2}")
# Nothing on the way may answer for us: it would go on with the list of a user who was forgotten.
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
SHOWN = 100  # characters of an id, in a sentence
MISSING: dict[Kind, str] = {
    "recommendations": "There is no list of the user {}: nothing has been published for them, or they were forgotten.",
    "related": "There are no related items of the item {}: nobody came to another with it yet, or it is unavailable.",
}
Handler = Callable[[Request], Awaitable[Response]]


class _Id(StringConvertor):
    regex = "(?s:.*)"  # slashes and line ends, too


register_url_convertor("id", _Id())


class Serving(msgspec.Struct, frozen=True):
    """What answers are made of; `broadcast` is for whoever wants to see updates as they happen."""

    reading: Reading  # of the event loop's thread, unless it waits
    counting: Reading  # of any other
    readers: tuple[Reader, ...]
    broadcast: Broadcast
    figures: Figures


def make_app(serving: Serving, more: tuple[BaseRoute, ...] = ()) -> Starlette:
    """The application, with `more` routes in front of its own."""
    described = msgspec.json.encode(description())

    async def healthz(request: Request) -> Response:
        health = await to_thread(health_of, serving)
        return _json(health, 503 if health.status == "failed" else 200)

    async def metrics(request: Request) -> Response:
        health = await to_thread(health_of, serving)
        text = serving.figures.text(health, {reader.input.kind: reader.ages for reader in serving.readers})
        return Response(text, headers=HEADERS, media_type="text/plain; version=0.0.4")

    async def openapi(request: Request) -> Response:
        return Response(described, headers=HEADERS, media_type=JSON)

    handlers: tuple[Handler, ...] = (
        _lists(serving.reading, "recommendations"),
        _lists(serving.reading, "related"),
        *(healthz, metrics, openapi),
    )
    own = [
        Route(path.replace("}", ":id}"), _timed(serving.figures, path, handler), methods=["GET"])
        for path, handler in zip(PATHS, handlers, strict=True)
    ]
    app = Starlette(routes=[*more, *own], exception_handlers={404: _nowhere, 405: _nowhere})
    app.router.redirect_slashes = False  # an id may end in one
    return app


def health_of(serving: Serving) -> Health:
    """How the server stands."""
    inputs = tuple(reader.health() for reader in serving.readers)
    caught_up = all(reader.caught_up for reader in serving.readers)
    failed = any(one.failure is not None for one in inputs)
    try:
        users, items = serving.counting.counts()
    except OutputError as error:
        return Health("failed", None, None, inputs, str(error))
    return Health("failed" if failed else "ok" if caught_up else "catching up", users, items, inputs)


def _lists(reading: Reading, kind: Kind) -> Handler:
    async def answer(request: Request) -> Response:
        (key,) = request.path_params.values()
        asked = request.query_params.get("k")
        if asked is not None and not (K.fullmatch(asked) and int(asked) <= MOST_ITEMS):
            told = f"k = {asked[:SHOWN]!r} is not allowed: expected a whole number from 1 to {MOST_ITEMS}."
            return _json(Problem(told), 400)
        try:
            value = await to_thread(reading.value, kind, key) if reading.waits else reading.value(kind, key)
        except OutputError as error:
            return _json(Problem(str(error)), 503)
        if value is None:
            return _json(Problem(MISSING[kind].format(repr(key[:SHOWN]))), 404)
        return Response(value if asked is None else first_items(value, int(asked)), headers=HEADERS, media_type=JSON)

    return answer


def _json(body: msgspec.Struct, status: int) -> Response:
    return Response(msgspec.json.encode(body), status, headers=HEADERS, media_type=JSON)


def _timed(figures: Figures, path: str, handler: Handler) -> Handler:
    async def timed(request: Request) -> Response:
        began_s = time.perf_counter()
        response = await handler(request)
        figures.note(path, response.status_code, time.perf_counter() - began_s)
        return response

    return timed


async def _nowhere(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    what = "is no path that is served" if status == 404 else f"takes no {request.method}"
    return _json(Problem(f"{request.url.path[:SHOWN]} {what}; see /openapi.json."), status)
