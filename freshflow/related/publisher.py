"""Lists of related items: whose is published anew, and when.

After every so many events a partition looks at its items whose company has changed, the relatively largest changes
first, and publishes the lists that differ enough from what was last published, as many as the budget allows. Every
partition knows all items; which of them publishes an item's list follows from a hash of its id.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from freshflow.config.schema import RelatedConfig
from freshflow.items.covisitation import TOGETHER
from freshflow.items.index import NO_ROW, grown
from freshflow.items.popularity import EVENTS
from freshflow.items.statistics import ItemKnowledge
from freshflow.outputs.records import RelatedItem
from freshflow.related.similarity import UNIT, difference, due, nearest

__all__ = ["LOOK_EVERY", "Related", "RelatedList", "owner_of"]

LOOK_EVERY = 128  # choices from one look to the next, a multiple of those after which weights are taken over
# At one look: rows that are asked whether they have changed, in turn, and rows whose nearest are looked for.
ASKED, LOOKED_AT = 50_000, 256
SAVED = 100.0  # lists that may be saved up for a burst
LONG_AGO_MS = -(1 << 62)


class RelatedList(NamedTuple):
    """What is to be published of an item; nothing where there is nothing any more."""

    item_id: str
    items: tuple[RelatedItem, ...]


class Related:
    """What was last published of each item row, for the rows that item knowledge has, and what may be published yet.

    By row: `ids` of items that have a list, "" of others; the rows on it, `listed` (R, K), -1 padded; `seen` (R,), the
    sum of the item's company when it was last looked at; `published_ms` (R,), the event time of the list.
    """

    def __init__(self, config: RelatedConfig, number: int, partitions: int) -> None:
        self.config = config
        self.number = number
        self.partitions = partitions
        self.ids: list[str] = []
        self.listed = np.empty((0, config.k), np.int32)
        self.seen = np.empty(0)
        self.published_ms = np.empty(0, np.int64)
        self.allowed = SAVED
        self.counted = 0  # visits that the budget knows of
        self.turn = 0  # the row from which on to ask

    def look(self, knowledge: ItemKnowledge, now_ms: int) -> list[RelatedList]:
        """The lists that are to be published at `now_ms` (event time)."""
        self._grow(knowledge)
        self._earn(knowledge)
        lists: list[RelatedList] = []
        for row in self._due(knowledge, now_ms).tolist():
            if self.allowed < 1:
                break
            made = self._made(knowledge, row, now_ms, least=self.config.min_change)
            if made is not None:
                lists.append(made)
                self.allowed -= 1
        return lists

    def withdraw(self, knowledge: ItemKnowledge, item_id: str, now_ms: int) -> list[RelatedList]:
        """The lists that show an item which is not available any more, without it, and its own, which ends.

        They do not wait for the budget.
        """
        row = knowledge.rows.get(item_id)
        if row >= len(self.ids):
            return []
        lists = [RelatedList(item_id, ())] if self.ids[row] else []
        self._clear(row)
        if not knowledge.tables.covisits.sums[row].any():  # in nobody's company, and so on nobody's list
            return lists
        for holder in np.flatnonzero((self.listed == row).any(axis=1)).tolist():
            made = self._made(knowledge, holder, now_ms, least=0)
            if made is not None:
                lists.append(made)
        return lists

    def bring_back(self, knowledge: ItemKnowledge, item_id: str) -> None:
        """An item is available again: the lists that it may stand on are looked at soon."""
        row = knowledge.rows.get(item_id)
        neighbours = knowledge.tables.covisits.neighbours[row]
        self.seen[neighbours[(neighbours != NO_ROW) & (neighbours < len(self.seen))]] = 0

    def drop(self, rows: NDArray[np.int64]) -> list[RelatedList]:
        """Forget `rows`, which will mean other items: their lists end, and those that hold them are looked at soon."""
        rows = rows[rows < len(self.ids)]
        lists = [RelatedList(self.ids[row], ()) for row in rows.tolist() if self.ids[row]]
        for row in rows.tolist():
            self._clear(row)
        gone = np.zeros(len(self.ids) + 1, np.bool_)  # the last one is for places without a row
        gone[rows] = True
        held = gone[self.listed]
        self.listed[held] = NO_ROW
        self.seen[held.any(axis=1)] = 0
        return lists

    def state(self, rows: int) -> dict[str, Any]:
        """All there is to keep of the first `rows`, which are those in use; see `restore`."""
        by_row = {name: getattr(self, name)[:rows] for name in ("ids", "listed", "seen", "published_ms")}
        return by_row | {name: getattr(self, name) for name in ("allowed", "counted", "turn")}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`. Lists may have had another length then."""
        vars(self).update(state)
        listed, k = self.listed, self.config.k
        if listed.shape[1] != k:
            self.listed = np.full((len(listed), k), NO_ROW, np.int32)
            self.listed[:, : listed.shape[1]] = listed[:, :k]
            self.seen[:] = 0

    def _due(self, knowledge: ItemKnowledge, now_ms: int) -> NDArray[np.int32]:
        """The rows to look at: of those whose turn it is, and whose lists are ours, those that have changed most."""
        known = len(knowledge.rows.ids)
        start = self.turn if self.turn < known else 0
        end = min(start + ASKED, known)
        self.turn = end if end < known else 0
        rows, changes = np.empty(end - start, np.int32), np.empty(end - start)
        interval_ms = int(self.config.interval_s * 1000)
        tables, support = knowledge.tables, self.config.min_support
        found = due(tables, self.seen, self.published_ms, start, end, now_ms, interval_ms, support, rows, changes)
        rows, changes = rows[:found], changes[:found]
        if self.partitions > 1:
            ids = knowledge.rows.ids
            ours = np.array([owner_of(ids[row], self.partitions) == self.number for row in rows.tolist()], np.bool_)
            rows, changes = rows[ours], changes[ours]
        return rows[np.argsort(-changes, kind="stable")[:LOOKED_AT]]

    def _made(self, knowledge: ItemKnowledge, row: int, now_ms: int, least: float) -> RelatedList | None:
        """The list of an item, if it differs by at least `least` from the one that was last published."""
        tables, ids, k = knowledge.tables, knowledge.rows.ids, self.config.k
        slots = tables.covisits.neighbours.shape[1]
        rows, scores = np.empty(slots, np.int32), np.empty(slots)
        found = nearest(tables, row, self.config.min_support, rows, scores)
        if found > k:  # and those that tie with the last place
            found = k + int(np.count_nonzero(scores[k:found] == scores[k - 1]))
        nearby = _in_order(rows[:found].tolist(), scores[:found].tolist(), ids)[:k]
        new = np.full(k, NO_ROW, np.int32)
        new[: len(nearby)] = [other for other, _ in nearby]
        self.seen[row] = tables.covisits.sums[row, TOGETHER]
        changed = difference(self.listed[row], new)
        if changed == 0 or changed < least:
            return None
        self.listed[row] = new
        self.published_ms[row] = now_ms
        self.ids[row] = ids[row] if nearby else ""
        return RelatedList(ids[row], tuple(RelatedItem(ids[other], score / UNIT) for other, score in nearby))

    def _clear(self, row: int) -> None:
        """Nothing is known of a row, and nothing was published of it."""
        self.ids[row] = ""
        self.listed[row] = NO_ROW
        self.seen[row] = 0
        self.published_ms[row] = LONG_AGO_MS

    def _grow(self, knowledge: ItemKnowledge) -> None:
        capacity = knowledge.capacity
        if len(self.ids) >= capacity:
            return
        self.ids += [""] * (capacity - len(self.ids))
        self.listed = grown(self.listed, capacity, NO_ROW)
        self.seen = grown(self.seen, capacity)
        self.published_ms = grown(self.published_ms, capacity, LONG_AGO_MS)

    def _earn(self, knowledge: ItemKnowledge) -> None:
        """Add to the budget what the visits since the last time allow one of the partitions."""
        visits = int(knowledge.tables.popularity.clock[EVENTS])
        earned = (visits - self.counted) * self.config.per_100_events / 100 / self.partitions
        self.allowed = min(self.allowed + earned, SAVED)
        self.counted = visits


def owner_of(item_id: str, partitions: int) -> int:
    """The partition that publishes an item's list, whatever its number of rows and whichever process it runs in."""
    return crc32(item_id.encode("utf-8", "surrogatepass")) % partitions


def _in_order(rows: Iterable[int], scores: Iterable[float], ids: list[str]) -> list[tuple[int, float]]:
    """Rows and scores by falling score, ties by id."""
    return sorted(zip(rows, scores, strict=True), key=lambda one: (-one[1], ids[one[0]]))
