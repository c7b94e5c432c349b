"""Simulated sessions: concurrent walks of visitors from item to item, merged by event time.

A recommender can learn the walk: visitors move to neighbours of the last item, to items they like, back to items they
know, and to new, popular or trending items.
"""

import heapq
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from itertools import accumulate

from freshflow.simulator import lines
from freshflow.simulator.config import MS_PER_DAY, ShopConfig, create_rng
from freshflow.simulator.lines import Line
from freshflow.simulator.searches import SearchSimulator
from freshflow.simulator.shop import ItemChange, SimulatedShop, shift_shop
from freshflow.simulator.visitors import (
    MEAN_PAUSE_MS,
    MEAN_SESSION_EVENTS,
    Visitors,
    count_events_due,
    draw_exponentials,
    draw_session_lengths,
    draw_uniforms,
)

# Shares of the sources of the next item, at the start of a session and within it.
FIRST_ITEM_SHARES = {"neighbours": 0.0, "own": 0.28, "taste": 0.37, "popular": 0.13, "buzz": 0.12, "new": 0.10}
NEXT_ITEM_SHARES = {"neighbours": 0.54, "own": 0.12, "taste": 0.20, "popular": 0.03, "buzz": 0.06, "new": 0.05}
# Follow-up events on the same item by type, with cumulative probabilities; otherwise the visitor views another item.
FOLLOW_UP_TYPES = {
    "view": (("click", 0.22),),
    "click": (("cart", 0.25), ("wishlist", 0.33)),
    "cart": (("purchase", 0.45),),
}
SESSION_GAP_MS = 1_800_000  # minimum time between sessions of a visitor
MAX_PAUSE_MS = 600_000  # within a session, well below the session gap
MAX_REMEMBERED_ITEMS = 8  # per visitor, to return to
MAX_RECENT_ITEMS = 200  # items of the latest events, which any visitor can see
MAX_NEW_ITEMS, NEW_ITEM_MS = 20, 2 * MS_PER_DAY  # number and duration of launches shown as new
NO_SESSION_ID_SHARE = 0.1  # of the sessions
SLICE_MS, SLICE_EVENTS = 3_600_000, 5_000  # sessions are planned for an hour, or for 5,000 events if these are fewer
SEARCH_TO_CHOICE_MS = 500  # time from a search to the choice
MAX_TRIES = 8  # draws before the walk falls back to an item that is always available


class SimulatedSession:
    """A planned or running session: its user, current item and type, and the number of remaining events."""

    __slots__ = ("item", "n_events_left", "session_id", "type", "user")

    def __init__(self, n_events_left: int) -> None:
        self.n_events_left = n_events_left
        self.user = -1  # assigned at the start, to a visitor without a running session
        self.item = -1
        self.type = ""
        self.session_id: str | None = None


class SessionSimulator:
    """A simulator of all visitors of a shop. Memory is bounded by users, items and the sessions of an hour."""

    def __init__(self, shop: SimulatedShop, visitors: Visitors, config: ShopConfig) -> None:
        self._shop, self._config = shop, config
        self._rng = create_rng(config, "sessions")
        self._draw = draw_uniforms(self._rng).__next__
        self._draw_pause_ms = draw_exponentials(MEAN_PAUSE_MS, self._rng).__next__
        self._draw_visitor = visitors.draw_arrivals(self._rng).__next__
        self._draw_request = draw_uniforms(create_rng(config, "requests")).__next__
        self._tastes = visitors.tastes
        self._search_simulator = SearchSimulator(shop, config) if config.searches else None
        self._latest_search: tuple[str, list[int]] | None = None  # from which the latest item was chosen
        self._remembered_items: list[list[int]] = [[] for _ in range(config.users)]
        self._busy_until_ms = [0] * config.users
        self._is_available = bytearray(config.items)
        self._recent_items: deque[int] = deque(maxlen=MAX_RECENT_ITEMS)
        self._new_items: deque[tuple[int, int]] = deque(maxlen=MAX_NEW_ITEMS)
        self._queue: list[tuple[int, int, SimulatedSession]] = []
        self._n_planned = self._n_events = self._n_sessions = self._n_changes = 0
        self._next_change_ms = shop.changes[0].ts_ms
        self._item_sources: tuple[Callable[[SimulatedSession], int], ...] = (
            self._from_neighbours,
            self._from_remembered,
            self._from_tastes,
            self._from_popular,
            self._from_recent,
            self._from_new,
        )
        self._first_item_shares, self._next_item_shares = (
            list(accumulate(FIRST_ITEM_SHARES.values())),
            list(accumulate(NEXT_ITEM_SHARES.values())),
        )

    def generate_lines(self) -> Iterator[Line]:
        """Yield catalogue events, requests and interactions by time, until there are `events` interactions."""
        config = self._config
        n_slices = max(math.ceil(config.span_ms / SLICE_MS), math.ceil(config.events / SLICE_EVENTS))
        slice_index = 0
        while self._n_events < config.events:
            start_ms, end_ms = (
                config.time_at_ms(slice_index / n_slices),
                config.time_at_ms((slice_index + 1) / n_slices),
            )
            self._plan_sessions(start_ms, end_ms)
            yield from self._generate_until(end_ms)
            slice_index += 1

    def _plan_sessions(self, start_ms: int, end_ms: int) -> None:
        """Queue as many sessions as the daily rhythm requires by the end of the slice."""
        n_missing = count_events_due(self._config, end_ms) - self._n_planned
        is_last = end_ms >= self._config.start_ms + self._config.span_ms
        n_sessions = math.ceil(n_missing / MEAN_SESSION_EVENTS) if is_last else int(n_missing / MEAN_SESSION_EVENTS)
        if n_sessions <= 0:
            return
        lengths = draw_session_lengths(n_sessions, self._config.events - self._n_planned, self._rng)
        starts = self._rng.integers(start_ms, end_ms, len(lengths)).tolist()
        for start, length in zip(starts, lengths, strict=True):
            self._n_sessions += 1
            heapq.heappush(self._queue, (start, self._n_sessions, SimulatedSession(length)))
        self._n_planned += sum(lengths)

    def _generate_until(self, end_ms: int) -> Iterator[Line]:
        queue, request_share = self._queue, self._config.requests
        while queue and queue[0][0] < end_ms:
            now_ms, number, session = queue[0]
            if now_ms >= self._next_change_ms:
                yield from self._apply_due_changes(now_ms)
            if session.user < 0 and not self._start_session(session, number, now_ms):
                self._n_planned -= session.n_events_left
                heapq.heappop(queue)
                continue
            self._draw_event(session, now_ms)
            event_id = f"e{self._n_events}"
            if request_share and self._draw_request() < request_share:
                yield now_ms, "request", lines.encode_request(now_ms, session.user, f"r-{event_id}")
            if self._latest_search is not None:
                search_line = lines.encode_search(
                    now_ms - SEARCH_TO_CHOICE_MS, session.user, *self._latest_search, f"s-{event_id}"
                )
                yield now_ms - SEARCH_TO_CHOICE_MS, "search", search_line
            interaction_line = lines.encode_interaction(
                now_ms, session.type, session.user, session.item, event_id, session.session_id
            )
            yield now_ms, "behaviour", interaction_line
            self._requeue_or_end(session, number, now_ms)

    def _requeue_or_end(self, session: SimulatedSession, number: int, now_ms: int) -> None:
        if session.n_events_left:
            pause_ms = 1_000 + min(int(self._draw_pause_ms()), MAX_PAUSE_MS)
            heapq.heapreplace(self._queue, (now_ms + pause_ms, number, session))
        else:
            heapq.heappop(self._queue)

    def _apply_due_changes(self, now_ms: int) -> Iterator[Line]:
        """Apply the catalogue changes up to now, and yield their lines."""
        changes = self._shop.changes
        while self._n_changes < len(changes) and (change := changes[self._n_changes]).ts_ms <= now_ms:
            self._n_changes += 1
            yield change.ts_ms, "item", self._apply_change(change)
        while self._new_items and self._new_items[0][0] < now_ms - NEW_ITEM_MS:
            self._new_items.popleft()
        has_more = self._n_changes < len(changes)
        self._next_change_ms = changes[self._n_changes].ts_ms if has_more else now_ms + NEW_ITEM_MS

    def _apply_change(self, change: ItemChange) -> bytes:
        is_available = change.kind != "sold out"
        self._is_available[change.item] = is_available
        if change.kind != "launched":
            return lines.encode_availability(change.ts_ms, change.item, is_available)
        if change.ts_ms > self._config.start_ms:
            self._new_items.append((change.ts_ms, change.item))
        return self._shop.catalogue.encode_launch(change.ts_ms, change.item)

    def _start_session(self, session: SimulatedSession, number: int, now_ms: int) -> bool:
        """Assign a visitor without a running session; return False if none was found."""
        for _ in range(MAX_TRIES):
            user = self._draw_visitor()
            if self._busy_until_ms[user] < now_ms:
                session.user = user
                session.session_id = f"s{number}" if self._draw() >= NO_SESSION_ID_SHARE else None
                return True
        return False

    def _draw_event(self, session: SimulatedSession, now_ms: int) -> None:
        if self._n_events + 1 == self._config.shift:
            self._shop = shift_shop(self._shop, self._config)
        session.type = self._draw_type(session)
        self._latest_search = None
        if session.type == "view":
            self._latest_search, chosen_item = self._choose_from_search(session)
            session.item = chosen_item if self._latest_search is not None else self._choose_item(session, now_ms)
        self._remember_item(session)
        self._recent_items.append(session.item)
        self._busy_until_ms[session.user] = now_ms + SESSION_GAP_MS
        session.n_events_left -= 1
        self._n_events += 1

    def _draw_type(self, session: SimulatedSession) -> str:
        if session.type in FOLLOW_UP_TYPES and self._is_available[session.item]:
            chance = self._draw()
            for type_, cumulative_chance in FOLLOW_UP_TYPES[session.type]:
                if chance < cumulative_chance:
                    return type_
        return "view"

    def _remember_item(self, session: SimulatedSession) -> None:
        remembered_items = self._remembered_items[session.user]
        if session.item in remembered_items:
            remembered_items.remove(session.item)
        if session.type != "purchase":  # purchased items are not viewed again
            remembered_items.append(session.item)
        if len(remembered_items) > MAX_REMEMBERED_ITEMS:
            del remembered_items[0]

    def _choose_from_search(self, session: SimulatedSession) -> tuple[tuple[str, list[int]] | None, int]:
        """Draw a search with its results, and the item chosen from them; return None and -1 if there is none."""
        simulator = self._search_simulator
        if simulator is None or not simulator.is_search_next(self._config.searches):
            return None, -1
        remembered_items, tastes = self._remembered_items[session.user], self._tastes[session.user]
        query, results, item = simulator.search(
            self._shop, tastes, remembered_items, self._is_available.__getitem__, session.item
        )
        return ((query, results), item) if item >= 0 else (None, -1)

    # Sources of the next item: each returns an item, or -1.

    def _choose_item(self, session: SimulatedSession, now_ms: int) -> int:
        shares = self._next_item_shares if session.item >= 0 else self._first_item_shares
        trend, last_source = self._shop.trend, len(self._item_sources) - 1
        trend_share = trend.choice_share(now_ms) if trend.start_ms < now_ms < trend.end_ms else 0.0
        for _ in range(MAX_TRIES):
            if trend_share and self._draw() < trend_share:
                item = self._draw_zipf(trend.items)
            else:
                item = self._item_sources[min(bisect_right(shares, self._draw()), last_source)](session)
            if item >= 0 and item != session.item and self._is_available[item]:
                return item
        return self._draw_zipf(self._shop.evergreens)

    def _draw_zipf(self, items: list[int]) -> int:
        """Draw the n-th item with probability of about 1/n: index (N + 1)^u for a uniform u, rounded down."""
        return items[int((len(items) + 1) ** self._draw()) - 1]

    def _from_neighbours(self, session: SimulatedSession) -> int:
        return self._draw_zipf(self._shop.neighbours[session.item]) if session.item >= 0 else -1

    def _from_remembered(self, session: SimulatedSession) -> int:
        remembered_items = self._remembered_items[session.user]
        return remembered_items[-int((len(remembered_items) + 1) ** self._draw())] if remembered_items else -1

    def _from_tastes(self, session: SimulatedSession) -> int:
        tastes = self._tastes[session.user]
        return self._draw_zipf(self._shop.by_leaf[tastes[int(self._draw() * len(tastes))]])

    def _from_popular(self, session: SimulatedSession) -> int:
        return self._draw_zipf(self._shop.by_popularity)

    def _from_recent(self, session: SimulatedSession) -> int:
        return self._recent_items[int(self._draw() * len(self._recent_items))] if self._recent_items else -1

    def _from_new(self, session: SimulatedSession) -> int:
        return self._new_items[-int((len(self._new_items) + 1) ** self._draw())][1] if self._new_items else -1
