"""Updates as they happen, to whoever in this process listens, as a live page does."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from freshflow.serving.records import ListChange
from freshflow.serving.responses import ListKind

__all__ = ["Broadcast", "Subscription", "Update"]

MAX_PENDING_UPDATES = 1000  # updates that a slow listener may fall behind; then it misses the oldest


class Update(NamedTuple):
    """Something that is in the store by now."""

    kind: ListKind
    change: ListChange


class Subscription:
    """Updates for one listener in one event loop, the latest `MAX_PENDING_UPDATES` of those it has not taken yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.n_missed = 0
        self._loop = loop
        self._pending_updates: deque[Update] = deque()
        self._has_updates = asyncio.Event()

    async def wait_for_updates(self) -> list[Update]:
        """All that has come since the last call, as soon as there is anything."""
        await self._has_updates.wait()
        self._has_updates.clear()
        updates = list(self._pending_updates)
        self._pending_updates.clear()
        return updates

    def put(self, updates: list[Update]) -> None:
        """Hand over updates, from any thread; nothing happens where the loop has ended."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._put, updates)

    def _put(self, updates: list[Update]) -> None:
        self._pending_updates.extend(updates)
        while len(self._pending_updates) > MAX_PENDING_UPDATES:
            self._pending_updates.popleft()
            self.n_missed += 1
        self._has_updates.set()


class Broadcast:
    """Hands updates on; without a listener that costs nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: tuple[Subscription, ...] = ()

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """A subscription of the running event loop, for as long as the block runs."""
        subscription = Subscription(asyncio.get_running_loop())
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions = tuple(
                    subscriber for subscriber in self._subscriptions if subscriber is not subscription
                )

    def send(self, kind: ListKind, changes: Iterable[ListChange]) -> None:
        """Changes of one kind have happened; callable from any thread."""
        subscriptions = self._subscriptions
        if subscriptions:
            updates = [Update(kind, change) for change in changes]
            for subscription in subscriptions:
                subscription.put(updates)
