"""The server: inputs, store and application put together, run until SIGTERM or SIGINT."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from freshflow.config.schema import Config
from freshflow.errors import OutputError
from freshflow.io.registry import open_log
from freshflow.serving.app import ServerState, make_app
from freshflow.serving.broadcast import Broadcast
from freshflow.serving.list_input import ListInput
from freshflow.serving.metrics import ServerMetrics
from freshflow.serving.reader import InputReader
from freshflow.serving.responses import ListKind
from freshflow.serving.store import open_list_store

__all__ = ["ServerUrls", "open_listener", "open_server_state", "run_server", "system_time_ms"]

SERVER_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACEFUL_SHUTDOWN_S = 2  # for requests that are under way when the server is told to stop
INPUT_POLL_S = 0.02  # from one look at a file that had no more to the next, which takes some 20 us
KEEP_ALIVE_S = 75  # a connection that is not used; longer than the minute for which balancers keep theirs
MAX_CONNECTIONS = 1000  # more are told that there are too many
THREAD_SWITCH_INTERVAL_S = (
    0.0005  # that a thread which stores lists may keep others from Python; 5 ms, unasked, add up for answers
)
MAX_REQUEST_HEAD_BYTES = 32_768  # of a request: an id of 512 characters takes at most 6,144

ExtraRoutes = Callable[[ServerState], AbstractContextManager[tuple[BaseRoute, ...]]]


class ServerUrls(msgspec.Struct, frozen=True):
    """Where the lists come from, and where they are kept."""

    lists: str
    related: str | None
    store: str


@contextmanager
def open_server_state(server_urls: ServerUrls, config: Config) -> Iterator[ServerState]:
    """Everything that answers are made of, reading on for as long as the block runs.

    Raises a `FreshFlowError` if an input or the store cannot be used.
    """
    with ExitStack() as exit_stack:
        store = open_list_store(server_urls.store)
        exit_stack.callback(store.close)
        broadcast, metrics = Broadcast(), ServerMetrics()
        urls: dict[ListKind, str | None] = {"recommendations": server_urls.lists, "related": server_urls.related}
        readers: list[InputReader] = []
        for kind, url in urls.items():
            if url is not None:
                list_input = ListInput(kind, open_log(url, config, store.position(kind), system_time_ms))
                reader = InputReader(
                    *(list_input, url, store, broadcast, system_time_ms, INPUT_POLL_S),
                    record_list_age=metrics.list_age_recorder(kind),
                )
                reader.start()
                exit_stack.callback(reader.stop)
                readers.append(reader)
        list_reader, count_reader = store.open_reader(), store.open_reader()
        exit_stack.callback(list_reader.close)
        exit_stack.callback(count_reader.close)
        yield ServerState(list_reader, count_reader, tuple(readers), broadcast, metrics)


def run_server(
    server_urls: ServerUrls,
    config: Config,
    announce: Callable[[str], None],
    extra_routes: ExtraRoutes = lambda answers: nullcontext(()),
) -> None:
    """Serve until SIGTERM or SIGINT, and `announce` where; `extra_routes` gives routes beside those of the API.

    Raises a `FreshFlowError` if that cannot begin.
    """
    with (
        open_listener(config.serve.host, config.serve.port) as listener,
        open_server_state(server_urls, config) as state,
        extra_routes(state) as routes,
        _capture_stop_signals() as received_signals,
    ):
        host, port = listener.getsockname()[:2]
        announce(f"Serving {server_urls.lists} at http://{f'[{host}]' if ':' in host else host}:{port}")
        asyncio.run(_run_uvicorn(make_app(state, routes), listener, received_signals))


@contextmanager
def _capture_stop_signals() -> Iterator[list[int]]:
    """The signals that have come, which are only noted: an exception would break asyncio where it begins."""
    received_signals: list[int] = []
    previous_handlers = {
        number: signal.signal(number, lambda number, _: received_signals.append(number))
        for number in SERVER_STOP_SIGNALS
    }
    try:
        yield received_signals
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


class _BoundedHeadProtocol(HttpToolsProtocol):
    """Refuses a request whose head does not end: httptools would hold it all."""

    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_REQUEST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none: Uvicorn's own way ends the process by the signal again when it has been served."""
        yield


async def _run_uvicorn(app: Starlette, listener: socket.socket, received_signals: list[int]) -> None:
    settings = uvicorn.Config(
        app,
        http=_BoundedHeadProtocol,
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
    )
    server = _Server(settings)
    app.state.is_ending = lambda: server.should_exit  # for answers that go on
    loop = asyncio.get_running_loop()
    for number in SERVER_STOP_SIGNALS:
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    if received_signals:  # before there was a loop to tell
        return
    sys.setswitchinterval(THREAD_SWITCH_INTERVAL_S)
    await server.serve([listener])


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `OutputError` if there cannot be one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        problem = (error.strerror or str(error)).partition(" (while")[0]  # Python adds the address, which stands here
        raise OutputError(
            f"Nothing can be served at {host}, port {port}: {problem}; give another --host or --port."
        ) from None
    # asyncio does so for sockets it has made itself; else an answer's body waits 40 ms for the receipt of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def system_time_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000
