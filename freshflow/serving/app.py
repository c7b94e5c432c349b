"""HTTP application; it answers with the published bytes of a list, so most requests decode nothing."""

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
from freshflow.serving.metrics import ServerMetrics
from freshflow.serving.openapi import MAX_LIST_ITEMS, PATHS, build_openapi
from freshflow.serving.reader import InputReader
from freshflow.serving.records import first_items
from freshflow.serving.responses import Health, ListKind, Problem
from freshflow.serving.store import StoreReader

JSON_MEDIA_TYPE = "application/json"
K_PATTERN = re.compile("[1-9][0-9]{0,2}")
# No cache may answer: it would keep serving the list of a forgotten user.
API_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
MAX_SHOWN_CHARS = 100  # characters of an id, in an error message
NOT_FOUND_MESSAGES: dict[ListKind, str] = {
    "recommendations": "There is no list of the user {}: nothing has been published for them, or they were forgotten.",
    "related": "The item {} has no related items: no user has visited another item with it yet, or it is unavailable.",
}
Handler = Callable[[Request], Awaitable[Response]]


class _IdConvertor(StringConvertor):
    regex = "(?s:.*)"  # includes slashes and line ends


register_url_convertor("id", _IdConvertor())


class ServerState(msgspec.Struct, frozen=True):
    """State shared by the request handlers: readers of the store, readers of the inputs, broadcast and metrics."""

    list_reader: StoreReader  # used on the event loop's thread, unless it blocks
    count_reader: StoreReader  # used on worker threads
    readers: tuple[InputReader, ...]
    broadcast: Broadcast
    metrics: ServerMetrics


def make_app(state: ServerState, extra_routes: tuple[BaseRoute, ...] = ()) -> Starlette:
    """Build the application; `extra_routes` are matched before the routes of the API."""
    openapi_json = msgspec.json.encode(build_openapi())

    async def healthz(request: Request) -> Response:
        health = await to_thread(server_health, state)
        return _json_response(health, 503 if health.status == "failed" else 200)

    async def metrics(request: Request) -> Response:
        health = await to_thread(server_health, state)
        text = state.metrics.render(health)
        return Response(text, headers=API_HEADERS, media_type="text/plain; version=0.0.4")

    async def openapi(request: Request) -> Response:
        return Response(openapi_json, headers=API_HEADERS, media_type=JSON_MEDIA_TYPE)

    handlers: tuple[Handler, ...] = (
        _list_handler(state.list_reader, "recommendations"),
        _list_handler(state.list_reader, "related"),
        *(healthz, metrics, openapi),
    )
    api_routes = [
        Route(path.replace("}", ":id}"), _timed_handler(state.metrics, path, handler), methods=["GET"])
        for path, handler in zip(PATHS, handlers, strict=True)
    ]
    app = Starlette(routes=[*extra_routes, *api_routes], exception_handlers={404: _unknown_path, 405: _unknown_path})
    app.router.redirect_slashes = False  # an id may end in a slash
    return app


def server_health(state: ServerState) -> Health:
    """Return the state of the inputs and the number of stored lists."""
    inputs = tuple(reader.health() for reader in state.readers)
    is_caught_up = all(reader.is_caught_up for reader in state.readers)
    has_failed = any(input_health.failure is not None for input_health in inputs)
    try:
        users, items = state.count_reader.count_lists()
    except OutputError as error:
        return Health("failed", None, None, inputs, str(error))
    return Health("failed" if has_failed else "ok" if is_caught_up else "catching up", users, items, inputs)


def _list_handler(list_reader: StoreReader, kind: ListKind) -> Handler:
    async def answer(request: Request) -> Response:
        (key,) = request.path_params.values()
        k_param = request.query_params.get("k")
        if k_param is not None and not (K_PATTERN.fullmatch(k_param) and int(k_param) <= MAX_LIST_ITEMS):
            message = (
                f"k = {k_param[:MAX_SHOWN_CHARS]!r} is not allowed: expected a whole number from 1 to {MAX_LIST_ITEMS}."
            )
            return _json_response(Problem(message), 400)
        try:
            value = (
                await to_thread(list_reader.get_list, kind, key)
                if list_reader.is_blocking
                else list_reader.get_list(kind, key)
            )
        except OutputError as error:
            return _json_response(Problem(str(error)), 503)
        if value is None:
            return _json_response(Problem(NOT_FOUND_MESSAGES[kind].format(repr(key[:MAX_SHOWN_CHARS]))), 404)
        return Response(
            value if k_param is None else first_items(value, int(k_param)),
            headers=API_HEADERS,
            media_type=JSON_MEDIA_TYPE,
        )

    return answer


def _json_response(body: msgspec.Struct, status: int) -> Response:
    return Response(msgspec.json.encode(body), status, headers=API_HEADERS, media_type=JSON_MEDIA_TYPE)


def _timed_handler(metrics: ServerMetrics, path: str, handler: Handler) -> Handler:
    async def timed(request: Request) -> Response:
        start_s = time.perf_counter()
        response = await handler(request)
        metrics.record_request(path, response.status_code, time.perf_counter() - start_s)
        return response

    return timed


async def _unknown_path(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    problem = "is no path that is served" if status == 404 else f"takes no {request.method}"
    return _json_response(Problem(f"{request.url.path[:MAX_SHOWN_CHARS]} {problem}; see /openapi.json."), status)
