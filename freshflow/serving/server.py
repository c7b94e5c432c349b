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
from freshflow.serving.app import Serving, make_app
from freshflow.serving.broadcast import Broadcast
from freshflow.serving.file_input import FileInput
from freshflow.serving.kafka_input import TopicInput
from freshflow.serving.metrics import Figures
from freshflow.serving.reader import Input, Reader
from freshflow.serving.responses import Kind
from freshflow.serving.store import Store, open_store

__all__ = ["Served", "listening", "now_ms", "serve", "serving"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LEAVE_S = 2  # for requests that are under way when the server is told to stop
POLL_S = 0.02  # from one look at a file that had no more to the next, which takes some 20 us
KEPT_S = 75  # a connection that is not used; longer than the minute for which balancers keep theirs
CONNECTIONS = 1000  # more are told that there are too many
SWITCH_S = 0.0005  # that a thread which stores lists may keep others from Python; 5 ms, unasked, add up for answers
HEAD_BYTES = 32_768  # of a request: an id of 512 characters takes at most 6,144

More = Callable[[Serving], AbstractContextManager[tuple[BaseRoute, ...]]]


class Served(msgspec.Struct, frozen=True):
    """Where the lists come from, and where they are kept."""

    lists: str
    related: str | None
    store: str


@contextmanager
def serving(places: Served, config: Config) -> Iterator[Serving]:
    """Everything that answers are made of, reading on for as long as the block runs.

    Raises a `FreshFlowError` if an input or the store cannot be used.
    """
    with ExitStack() as open_until_the_end:
        store = open_store(places.store)
        open_until_the_end.callback(store.close)
        broadcast = Broadcast()
        urls: dict[Kind, str | None] = {"recommendations": places.lists, "related": places.related}
        readers: list[Reader] = []
        for kind, url in urls.items():
            if url is not None:
                reader = Reader(_input(kind, url, config, store), url, store, broadcast, now_ms, POLL_S)
                reader.start()
                open_until_the_end.callback(reader.stop)
                readers.append(reader)
        reading, counting = store.reading(), store.reading()
        open_until_the_end.callback(reading.close)
        open_until_the_end.callback(counting.close)
        yield Serving(reading, counting, tuple(readers), broadcast, Figures())


def serve(
    places: Served, config: Config, say: Callable[[str], None], more: More = lambda answers: nullcontext(())
) -> None:
    """Serve until SIGTERM or SIGINT, and `say` where; `more` gives routes beside those of the API.

    Raises a `FreshFlowError` if that cannot begin.
    """
    with (
        listening(config.serve.host, config.serve.port) as listener,
        serving(places, config) as answers,
        more(answers) as routes,
        _noted() as came,
    ):
        host, port = listener.getsockname()[:2]
        say(f"Serving {places.lists} at http://{f'[{host}]' if ':' in host else host}:{port}")
        asyncio.run(_run(make_app(answers, routes), listener, came))


@contextmanager
def _noted() -> Iterator[list[int]]:
    """The signals that have come, which are only noted: an exception would break asyncio where it begins."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Bounded(HttpToolsProtocol):
    """Refuses a request whose head does not end: httptools would hold it all."""

    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
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


async def _run(app: Starlette, listener: socket.socket, came: list[int]) -> None:
    settings = uvicorn.Config(
        app,
        http=_Bounded,
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEPT_S,
        timeout_graceful_shutdown=LEAVE_S,
    )
    server = _Server(settings)
    app.state.is_ending = lambda: server.should_exit  # for answers that go on
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    if came:  # before there was a loop to tell
        return
    sys.setswitchinterval(SWITCH_S)
    await server.serve([listener])


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `OutputError` if there cannot be one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        what = (error.strerror or str(error)).partition(" (while")[0]  # Python adds the address, which stands here
        raise OutputError(
            f"Nothing can be served at {host}, port {port}: {what}; give another --host or --port."
        ) from None
    # asyncio does so for sockets it has made itself; else an answer's body waits 40 ms for the receipt of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _input(kind: Kind, url: str, config: Config, store: Store) -> Input:
    position = store.position(kind)
    if url.startswith("kafka://"):
        return TopicInput(kind, url, config.kafka, position, clock=now_ms, away_s=config.serve.away_s)
    return FileInput(kind, url, position)


def now_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000
