"""Messages between the supervisor and the workers of a job.

They are JSON of typed structs over a pipe that a worker inherits; neither side decodes anything but these types.
"""

import contextlib
import threading
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

import msgspec

from freshflow.config.schema import Config
from freshflow.streaming.experiment import Variants
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStatsSnapshot


class JobSpec(msgspec.Struct, frozen=True, tag=True):
    """The job to run. It is a message, and no part of a command line, as a configuration can hold passwords."""

    urls: JobUrls
    config: Config
    recovery: str | None
    variants: Variants | None = None


class StartWorker(msgspec.Struct, frozen=True, tag=True):
    """All workers are ready: connect to their addresses and begin."""

    addresses: list[str]


class StopWorker(msgspec.Struct, frozen=True, tag=True):
    """End the sources; everything in flight is written, and a last snapshot is taken."""


class WorkerReady(msgspec.Struct, frozen=True, tag=True):
    """The worker has built the job and can begin."""


class WorkerFailure(msgspec.Struct, frozen=True, tag=True):
    """The worker failed: by a user's error, with its `user_message`, by another `error`, or because a peer was gone."""

    user_message: str | None = None
    error: str | None = None


MessageToWorker = JobSpec | StartWorker | StopWorker
MessageFromWorker = WorkerReady | JobStatsSnapshot | WorkerFailure
IncomingMessage = TypeVar("IncomingMessage")


class Channel(Generic[IncomingMessage]):
    """One end of a pipe, which receives messages of `message_type`; several threads may send."""

    def __init__(self, connection: "Connection[Any, Any]", message_type: Any) -> None:
        self.connection = connection
        self._decoder: msgspec.json.Decoder[IncomingMessage] = msgspec.json.Decoder(message_type)
        self._send_lock = threading.Lock()

    def send(self, message: MessageToWorker | MessageFromWorker) -> None:
        """Send a message; nothing happens if the other end is closed, which `receive` reports."""
        with self._send_lock, contextlib.suppress(ConnectionError):
            self.connection.send_bytes(msgspec.json.encode(message))

    def receive(self) -> IncomingMessage | None:
        """Wait for a message and return it; None once the other end is closed."""
        try:
            return self._decoder.decode(self.connection.recv_bytes())
        except (EOFError, ConnectionError):
            return None

    def close(self) -> None:
        """Close this end."""
        self.connection.close()
