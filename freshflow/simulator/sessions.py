"""How visitors move: sessions side by side in order of time, each a walk from item to item.

The walk is what a recommender can learn from: to items that go with the last one, to what the visitor likes,
back to what the visitor has seen before, and to what is new, popular or in fashion at that moment.
"""

import heapq
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from itertools import accumulate

from freshflow.simulator import lines
from freshflow.simulator.config import DAY_MS, ShopConfig, generator
from freshflow.simulator.lines import Line
from freshflow.simulator.searches import Searching
from freshflow.simulator.shop import Change, Shop, shifted
from freshflow.simulator.visitors import (
    MEAN_SESSION,
    PAUSE_MS,
    Visitors,
    events_due,
    exponentials,
    session_lengths,
    uniforms,
)

__all__ = ["Visit", "Walk"]

# Where the next item comes from, as shares, at the start of a session and within it.
FIRST = {"neighbours": 0.0, "own": 0.28, "taste": 0.37, "popular": 0.13, "buzz": 0.12, "new": 0.10}
NEXT = {"neighbours": 0.54, "own": 0.12, "taste": 0.20, "popular": 0.03, "buzz": 0.06, "new": 0.05}
# After an event of a type: what may follow for the same item, with the chances summed up. Else on to an item.
FUNNEL = {
    "view": (("click", 0.22),),
    "click": (("cart", 0.25), ("wishlist", 0.33)),
    "cart": (("purchase", 0.45),),
}
SESSION_GAP_MS = 1_800_000  # a visitor's next session starts later than this after the last event
LONGEST_PAUSE_MS = 600_000  # within a session, well below the gap
OWN = 8  # items that a visitor remembers and comes back to
BUZZ = 200  # latest events, of which anyone may see what others look at
NEW, NEW_MS = 20, 2 * DAY_MS  # launches shown as new, and for how long
UNKNOWN = 0.1  # share of sessions without a session_id
SLICE_MS, SLICE_EVENTS = (
    3_600_000,
    5_000,
)  # sessions are planned for an hour, or for fewer where they are many
SEARCH_MS = 500  # from a search to what is chosen of it
TRIES = 8  # draws before the walk settles for something that is surely there


class Visit:
    """A session that has begun or will: who, on which item, and how many events are left."""

    __slots__ = ("item", "left", "session_id", "type", "user")

    def __init__(self, left: int) -> None:
        self.left = left
        self.user = -1  # nobody yet: who is free is known when it begins
        self.item = -1
        self.type = ""
        self.session_id: str | None = None


class Walk:
    """All visitors of a shop at once. Memory is bounded by users, items and the sessions of an hour."""

    def __init__(self, shop: Shop, visitors: Visitors, config: ShopConfig) -> None:
        self._shop, self._config = shop, config
        self._rng = generator(config, "sessions")
        self._draw = uniforms(self._rng).__next__
        self._pause_ms = exponentials(PAUSE_MS, self._rng).__next__
        self._arrival = visitors.arrivals(self._rng).__next__
        self._ask = uniforms(generator(config, "requests")).__next__
        self._tastes = visitors.tastes
        self._searching = Searching(shop, config) if config.searches else None
        self._search: tuple[str, list[int]] | None = None  # which the latest item was chosen from
        self._own: list[list[int]] = [[] for _ in range(config.users)]
        self._busy_until_ms = [0] * config.users
        self._there = bytearray(config.items)
        self._buzz: deque[int] = deque(maxlen=BUZZ)
        self._new: deque[tuple[int, int]] = deque(maxlen=NEW)
        self._queue: list[tuple[int, int, Visit]] = []
        self._planned = self._done = self._sessions = self._changed = 0
        self._next_change_ms = shop.changes[0].ts_ms
        self._sources: tuple[Callable[[Visit], int], ...] = (
            self._neighbour,
            self._from_own,
            self._by_taste,
            self._popular,
            self._from_buzz,
            self._from_new,
        )
        self._first, self._next = list(accumulate(FIRST.values())), list(accumulate(NEXT.values()))

    def lines(self) -> Iterator[Line]:
        """Catalogue, requests and behaviour in order of time, until `events` things were done."""
        config = self._config
        slices = max(math.ceil(config.span_ms / SLICE_MS), math.ceil(config.events / SLICE_EVENTS))
        number = 0
        while self._done < config.events:
            start_ms, end_ms = config.at_ms(number / slices), config.at_ms((number + 1) / slices)
            self._plan(start_ms, end_ms)
            yield from self._until(end_ms)
            number += 1

    def _plan(self, start_ms: int, end_ms: int) -> None:
        """Put sessions in the queue for what the rhythm of the day wants by the end of the slice."""
        missing = events_due(self._config, end_ms) - self._planned
        last = end_ms >= self._config.start_ms + self._config.span_ms
        count = math.ceil(missing / MEAN_SESSION) if last else int(missing / MEAN_SESSION)
        if count <= 0:
            return
        lengths = session_lengths(count, self._config.events - self._planned, self._rng)
        starts = self._rng.integers(start_ms, end_ms, len(lengths)).tolist()
        for start, length in zip(starts, lengths, strict=True):
            self._sessions += 1
            heapq.heappush(self._queue, (start, self._sessions, Visit(length)))
        self._planned += sum(lengths)

    def _until(self, end_ms: int) -> Iterator[Line]:
        queue, requests = self._queue, self._config.requests
        while queue and queue[0][0] < end_ms:
            now_ms, number, visit = queue[0]
            if now_ms >= self._next_change_ms:
                yield from self._change(now_ms)
            if visit.user < 0 and not self._enter(visit, number, now_ms):
                self._planned -= visit.left
                heapq.heappop(queue)
                continue
            self._step(visit, now_ms)
            event_id = f"e{self._done}"
            if requests and self._ask() < requests:
                yield now_ms, "request", lines.request(now_ms, visit.user, f"r-{event_id}")
            if self._search is not None:
                asked = lines.search(now_ms - SEARCH_MS, visit.user, *self._search, f"s-{event_id}")
                yield now_ms - SEARCH_MS, "search", asked
            done = lines.behaviour(now_ms, visit.type, visit.user, visit.item, event_id, visit.session_id)
            yield now_ms, "behaviour", done
            self._leave_or_stay(visit, number, now_ms)

    def _leave_or_stay(self, visit: Visit, number: int, now_ms: int) -> None:
        if visit.left:
            pause_ms = 1_000 + min(int(self._pause_ms()), LONGEST_PAUSE_MS)
            heapq.heapreplace(self._queue, (now_ms + pause_ms, number, visit))
        else:
            heapq.heappop(self._queue)

    def _change(self, now_ms: int) -> Iterator[Line]:
        """Let the world catch up with the time, and say so."""
        changes = self._shop.changes
        while self._changed < len(changes) and (change := changes[self._changed]).ts_ms <= now_ms:
            self._changed += 1
            yield change.ts_ms, "item", self._apply(change)
        while self._new and self._new[0][0] < now_ms - NEW_MS:
            self._new.popleft()
        more = self._changed < len(changes)
        self._next_change_ms = changes[self._changed].ts_ms if more else now_ms + NEW_MS

    def _apply(self, change: Change) -> bytes:
        there = change.what != "sold out"
        self._there[change.item] = there
        if change.what != "launched":
            return lines.item_switched(change.ts_ms, change.item, there)
        if change.ts_ms > self._config.start_ms:
            self._new.append((change.ts_ms, change.item))
        return self._shop.catalogue.launched(change.ts_ms, change.item)

    def _enter(self, visit: Visit, number: int, now_ms: int) -> bool:
        """Someone who is not in a session begins one; False where nobody was found."""
        for _ in range(TRIES):
            user = self._arrival()
            if self._busy_until_ms[user] < now_ms:
                visit.user = user
                visit.session_id = f"s{number}" if self._draw() >= UNKNOWN else None
                return True
        return False

    def _step(self, visit: Visit, now_ms: int) -> None:
        """The next event of a session."""
        if self._done + 1 == self._config.shift:
            self._shop = shifted(self._shop, self._config)
        visit.type = self._follow_up(visit)
        self._search = None
        if visit.type == "view":
            self._search, chosen = self._choose_by_search(visit)
            visit.item = chosen if self._search is not None else self._choose(visit, now_ms)
        self._remember(visit)
        self._buzz.append(visit.item)
        self._busy_until_ms[visit.user] = now_ms + SESSION_GAP_MS
        visit.left -= 1
        self._done += 1

    def _follow_up(self, visit: Visit) -> str:
        if visit.type in FUNNEL and self._there[visit.item]:
            chance = self._draw()
            for type_, below in FUNNEL[visit.type]:
                if chance < below:
                    return type_
        return "view"

    def _remember(self, visit: Visit) -> None:
        own = self._own[visit.user]
        if visit.item in own:
            own.remove(visit.item)
        if visit.type != "purchase":  # what is bought is not looked at again
            own.append(visit.item)
        if len(own) > OWN:
            del own[0]

    def _choose_by_search(self, visit: Visit) -> tuple[tuple[str, list[int]] | None, int]:
        """A search with its results, and the item chosen from these; None and -1 where there is none."""
        searching = self._searching
        if searching is None or not searching.is_next(self._config.searches):
            return None, -1
        own, tastes = self._own[visit.user], self._tastes[visit.user]
        query, found, item = searching.search(self._shop, tastes, own, self._there.__getitem__, visit.item)
        return ((query, found), item) if item >= 0 else (None, -1)

    # Where the next item comes from: each source returns an item, or -1.

    def _choose(self, visit: Visit, now_ms: int) -> int:
        shares = self._next if visit.item >= 0 else self._first
        trend, last = self._shop.trend, len(self._sources) - 1
        fashion = trend.share(now_ms) if trend.start_ms < now_ms < trend.end_ms else 0.0
        for _ in range(TRIES):
            if fashion and self._draw() < fashion:
                item = self._zipf(trend.items)
            else:
                item = self._sources[min(bisect_right(shares, self._draw()), last)](visit)
            if item >= 0 and item != visit.item and self._there[item]:
                return item
        return self._zipf(self._shop.evergreens)

    def _zipf(self, items: list[int]) -> int:
        """The n-th with a chance of nearly 1/n: (N + 1)^u for a uniform u, cut to a whole number."""
        return items[int((len(items) + 1) ** self._draw()) - 1]

    def _neighbour(self, visit: Visit) -> int:
        return self._zipf(self._shop.neighbours[visit.item]) if visit.item >= 0 else -1

    def _from_own(self, visit: Visit) -> int:
        own = self._own[visit.user]
        return own[-int((len(own) + 1) ** self._draw())] if own else -1

    def _by_taste(self, visit: Visit) -> int:
        tastes = self._tastes[visit.user]
        return self._zipf(self._shop.by_leaf[tastes[int(self._draw() * len(tastes))]])

    def _popular(self, visit: Visit) -> int:
        return self._zipf(self._shop.by_popularity)

    def _from_buzz(self, visit: Visit) -> int:
        return self._buzz[int(self._draw() * len(self._buzz))] if self._buzz else -1

    def _from_new(self, visit: Visit) -> int:
        return self._new[-int((len(self._new) + 1) ** self._draw())][1] if self._new else -1
