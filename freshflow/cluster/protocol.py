"""What the processes of a job and the one that started them say to each other: JSON lines over a pair of sockets."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from freshflow.config.schema import Config
from freshflow.streaming.experiment import Variants
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStatsSnapshot

__all__ = [
    "Channel",
    "MessageFromWorker",
    "StartWorker",
    "JobSpec",
    "IncomingMessage",
    "WorkerReady",
    "StopWorker",
    "WorkerFailure",
    "MessageToWorker",
]

RECEIVE_BYTES = 65_536


class JobSpec(msgspec.Struct, frozen=True, tag=True):
    """What to run. Sent, not put on a command line, since a configuration can hold passwords."""

    urls: JobUrls
    config: Config
    recovery: str | None
    variants: Variants | None = None


class StartWorker(msgspec.Struct, frozen=True, tag=True):
    """Everybody is ready: connect and begin."""

    addresses: list[str]


class StopWorker(msgspec.Struct, frozen=True, tag=True):
    """End the sources; what is in flight is written, and a last snapshot is taken."""


class WorkerReady(msgspec.Struct, frozen=True, tag=True):
    """The job is put together and could begin."""


class WorkerFailure(msgspec.Struct, frozen=True, tag=True):
    """Failed: by a user's error, told in a `user_message`, by another `error`; or, without either, elsewhere."""

    user_message: str | None = None
    error: str | None = None


MessageToWorker = JobSpec | StartWorker | StopWorker
MessageFromWorker = WorkerReady | JobStatsSnapshot | WorkerFailure
IncomingMessage = TypeVar("IncomingMessage")


class Channel(Generic[IncomingMessage]):
    """One end of a socket pair, which receives messages of the types it is made with."""

    def __init__(self, connection: socket.socket, message_type: Any) -> None:
        self._socket = connection
        self._decoder: msgspec.json.Decoder[IncomingMessage] = msgspec.json.Decoder(message_type)
        self._send_lock = threading.Lock()
        self._incomplete_line = b""

    def fileno(self) -> int:
        """The descriptor, to be selected on."""
        return self._socket.fileno()

    def send(self, message: MessageToWorker | MessageFromWorker) -> None:
        """Send a message; nothing happens if the other end is gone, which receiving tells."""
        with self._send_lock, contextlib.suppress(ConnectionError):
            self._socket.sendall(msgspec.json.encode(message) + b"\n")

    def receive(self) -> list[IncomingMessage] | None:
        """Wait for messages and return those that are complete; None if the other end is gone."""
        try:
            chunk = self._socket.recv(RECEIVE_BYTES)
        except ConnectionError:
            return None
        if not chunk:
            return None
        *lines, self._incomplete_line = (self._incomplete_line + chunk).split(b"\n")
        return [self._decoder.decode(line) for line in lines]

    def messages(self) -> Iterator[IncomingMessage]:
        """Every message, as it comes, until the other end is gone."""
        while (batch := self.receive()) is not None:
            yield from batch

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
