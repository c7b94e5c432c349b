"""The server process: connects inputs, store and application, and runs Uvicorn until SIGTERM or SIGINT."""

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

SERVER_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACEFUL_SHUTDOWN_S = 2  # time for open requests to finish after a stop signal
INPUT_POLL_S = 0.02  # between two reads at the end of a file; one such read takes about 20 us
KEEP_ALIVE_S = 75  # idle connections; longer than the 60 s of common load balancers
MAX_CONNECTIONS = 1000  # further connections are answered with 503
# Longest time a storing thread may hold the GIL; Python's default of 5 ms adds up in response times.
THREAD_SWITCH_INTERVAL_S = 0.0005
MAX_REQUEST_HEAD_BYTES = 32_768  # request line and headers; an id of 512 characters takes at most 6,144

ExtraRoutes = Callable[[ServerState], AbstractContextManager[tuple[BaseRoute, ...]]]


class ServerUrls(msgspec.Struct, frozen=True):
    """URLs of the two inputs and of the store."""

    lists: str
    related: str | None
    store: str


@contextmanager
def open_server_state(server_urls: ServerUrls, config: Config) -> Iterator[ServerState]:
    """Open the store and the inputs, and yield the state; reader threads run until the block ends.

    Raises:
        FreshFlowError: If an input or the store cannot be used.
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
    """Serve until SIGTERM or SIGINT.

    Args:
        server_urls: The inputs and the store.
        config: The settings; the address is in `serve`.
        announce: Called with a message with the server's URL once the socket listens.
        extra_routes: Context manager that yields routes in addition to those of the API, open while the server runs.

    Raises:
        FreshFlowError: If the socket, an input or the store cannot be opened.
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
    """Record stop signals in the yielded list; raising in the handler would break the start of asyncio."""
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
    """HTTP protocol with a limit on the request head; httptools would buffer an endless one."""

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
        """Install no handlers: those of Uvicorn raise the signal again after the shutdown."""
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
    app.state.is_ending = lambda: server.should_exit  # checked by streaming responses
    loop = asyncio.get_running_loop()
    for number in SERVER_STOP_SIGNALS:
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    if received_signals:  # received before the handlers of the loop were installed
        return
    sys.setswitchinterval(THREAD_SWITCH_INTERVAL_S)
    await server.serve([listener])


def open_listener(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        OutputError: If the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        problem = (error.strerror or str(error)).partition(" (while")[
            0
        ]  # Python appends the address, which the message has
        raise OutputError(
            f"Nothing can be served at {host}, port {port}: {problem}; give another --host or --port."
        ) from None
    # asyncio sets this only on sockets it created; without it a body waits 40 ms for the ACK of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def system_time_ms() -> int:
    """Return the current time in epoch milliseconds."""
    return time.time_ns() // 1_000_000
