"""What the processes of a job and the one that started them say to each other: JSON lines over a pair of sockets."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from freshflow.config.schema import Config
from freshflow.streaming.experiment import Variants
from freshflow.streaming.job import Places
from freshflow.streaming.monitoring.progress import Counts

__all__ = ["Channel", "FromMember", "Go", "Job", "Message", "Ready", "Stop", "Stopped", "ToMember"]

PIECE_BYTES = 65_536


class Job(msgspec.Struct, frozen=True, tag=True):
    """What to run. Sent, not put on a command line, since a configuration can hold passwords."""

    places: Places
    config: Config
    recovery: str | None
    variants: Variants | None = None


class Go(msgspec.Struct, frozen=True, tag=True):
    """Everybody is ready: connect and begin."""

    addresses: list[str]


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End the sources; what is in flight is written, and a last snapshot is taken."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The job is put together and could begin."""


class Stopped(msgspec.Struct, frozen=True, tag=True):
    """Failed: by a user's error, told in a `sentence`, by another `error`; or, without either, elsewhere."""

    sentence: str | None = None
    error: str | None = None


ToMember = Job | Go | Stop
FromMember = Ready | Counts | Stopped
Message = TypeVar("Message")


class Channel(Generic[Message]):
    """One end of a socket pair, which receives messages of the types it is made with."""

    def __init__(self, end: socket.socket, incoming: Any) -> None:
        self._socket = end
        self._decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(incoming)
        self._sending = threading.Lock()
        self._rest = b""

    def fileno(self) -> int:
        """The descriptor, to be selected on."""
        return self._socket.fileno()

    def send(self, message: ToMember | FromMember) -> None:
        """Send a message; nothing happens if the other end is gone, which receiving tells."""
        with self._sending, contextlib.suppress(ConnectionError):
            self._socket.sendall(msgspec.json.encode(message) + b"\n")

    def receive(self) -> list[Message] | None:
        """Wait for messages and return those that are complete; None if the other end is gone."""
        try:
            piece = self._socket.recv(PIECE_BYTES)
        except ConnectionError:
            return None
        if not piece:
            return None
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [self._decoder.decode(line) for line in lines]

    def messages(self) -> Iterator[Message]:
        """Every message, as it comes, until the other end is gone."""
        while (received := self.receive()) is not None:
            yield from received

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
