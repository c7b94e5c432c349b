"""Publish-subscribe of list updates inside the server process, for the live page."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from freshflow.serving.records import ListChange
from freshflow.serving.responses import ListKind

MAX_PENDING_UPDATES = 1000  # updates queued for a slow subscriber; beyond it the oldest are dropped


class Update(NamedTuple):
    """A change that has been stored."""

    kind: ListKind
    change: ListChange


class Subscription:
    """Queue of updates for one subscriber in one event loop; holds the latest `MAX_PENDING_UPDATES`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.n_missed = 0
        self._loop = loop
        self._pending_updates: deque[Update] = deque()
        self._has_updates = asyncio.Event()

    async def wait_for_updates(self) -> list[Update]:
        """Return the updates since the last call; wait until there is at least one."""
        await self._has_updates.wait()
        self._has_updates.clear()
        updates = list(self._pending_updates)
        self._pending_updates.clear()
        return updates

    def put(self, updates: list[Update]) -> None:
        """Queue updates, from any thread; do nothing if the loop has ended."""
        with contextlib.suppress(RuntimeError):  # raised by a closed loop
            self._loop.call_soon_threadsafe(self._put, updates)

    def _put(self, updates: list[Update]) -> None:
        self._pending_updates.extend(updates)
        while len(self._pending_updates) > MAX_PENDING_UPDATES:
            self._pending_updates.popleft()
            self.n_missed += 1
        self._has_updates.set()


class Broadcast:
    """Sender of updates to all subscriptions; without a subscription, sending costs nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: tuple[Subscription, ...] = ()

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Yield a subscription for the running event loop; it ends with the block."""
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
        """Send changes of one kind to all subscriptions, from any thread."""
        subscriptions = self._subscriptions
        if subscriptions:
            updates = [Update(kind, change) for change in changes]
            for subscription in subscriptions:
                subscription.put(updates)
