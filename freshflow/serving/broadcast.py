"""Updates as they happen, to whoever in this process listens, as a live page does."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from freshflow.serving.records import Change
from freshflow.serving.responses import Kind

__all__ = ["Broadcast", "Subscription", "Update"]

HELD = 1000  # updates that a slow listener may fall behind; then it misses the oldest


class Update(NamedTuple):
    """Something that is in the store by now."""

    kind: Kind
    change: Change


class Subscription:
    """Updates for one listener in one event loop, the latest `HELD` of those it has not taken yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.missed = 0
        self._loop = loop
        self._held: deque[Update] = deque()
        self._any = asyncio.Event()

    async def next(self) -> list[Update]:
        """All that has come since the last call, as soon as there is anything."""
        await self._any.wait()
        self._any.clear()
        taken = list(self._held)
        self._held.clear()
        return taken

    def put(self, updates: list[Update]) -> None:
        """Hand over updates, from any thread; nothing happens where the loop has ended."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._put, updates)

    def _put(self, updates: list[Update]) -> None:
        self._held.extend(updates)
        while len(self._held) > HELD:
            self._held.popleft()
            self.missed += 1
        self._any.set()


class Broadcast:
    """Hands updates on; without a listener that costs nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listening: tuple[Subscription, ...] = ()

    @contextlib.contextmanager
    def listening(self) -> Iterator[Subscription]:
        """A subscription of the running event loop, for as long as the block runs."""
        subscription = Subscription(asyncio.get_running_loop())
        with self._lock:
            self._listening = (*self._listening, subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._listening = tuple(one for one in self._listening if one is not subscription)

    def send(self, kind: Kind, changes: Iterable[Change]) -> None:
        """Changes of one kind have happened; callable from any thread."""
        listening = self._listening
        if listening:
            updates = [Update(kind, change) for change in changes]
            for subscription in listening:
                subscription.put(updates)
