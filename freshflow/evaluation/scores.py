"""What is scored: the rank of each event's item on the lists that were made before it."""

from array import array
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from zlib import crc32

import msgspec
import numpy as np

from freshflow.events.model import Behaviour
from freshflow.metrics.ab_test import GROUPS
from freshflow.metrics.prequential import CUTOFF
from freshflow.metrics.ranking_metrics import NOT_COUNTED, Figures, figures, parts, rank_of

__all__ = ["KINDS", "History", "Moment", "Scores"]

# `all`: every event. `new`: a user's first event with an item, what the user has seen is taken off the list first.
# `published`: every event, on the list last pushed to the user. The others are `all` on first events only, and on those
# with an item that was first heard of less than a day before, and more than a day after the beginning of the stream.
KINDS = ("all", "new", "published", "cold_users", "cold_items", "launches")
DAY_MS = 86_400_000


class Moment(msgspec.Struct, frozen=True):
    """What is to be found, for whom: the user's seen items, whether user or item have never been met, and whether the
    item was launched just before.

    `group` is the group of users in which the user is compared (`freshflow.metrics.ab_test`).
    """

    item_id: str
    seen: AbstractSet[str]
    cold_user: bool
    cold_item: bool
    group: int = 0
    launched: bool = False


class History:
    """All that was met in a stream so far: which user saw what, and when each item was heard of first. Grows with the
    pairs of the file.
    """

    def __init__(self) -> None:
        self.seen: dict[str, set[str]] = {}
        self.items: set[str] = set()
        self.heard_ms: dict[str, int] = {}
        self.begun_ms: int | None = None

    def moment(self, event: Behaviour) -> Moment:
        """An event as it looks before it is added."""
        seen = self.seen.get(event.user_id)
        group = crc32(event.user_id.encode("utf-8", "surrogatepass")) % GROUPS
        never_met = event.item_id not in self.items
        return Moment(event.item_id, seen or frozenset(), seen is None, never_met, group, self._was_launched(event))

    def _was_launched(self, event: Behaviour) -> bool:
        """Whether the item was first heard of within the day before an event, and not on the first day of all."""
        begun_ms = event.ts_ms if self.begun_ms is None else self.begun_ms
        heard_ms = self.heard_ms.get(event.item_id, event.ts_ms)
        return heard_ms - begun_ms > DAY_MS and event.ts_ms - heard_ms < DAY_MS

    def hear(self, item_id: str, ts_ms: int) -> None:
        """There is an item."""
        self.begun_ms = ts_ms if self.begun_ms is None else self.begun_ms
        self.heard_ms.setdefault(item_id, ts_ms)

    def add(self, event: Behaviour) -> None:
        """Remember an event."""
        self.seen.setdefault(event.user_id, set()).add(event.item_id)
        self.items.add(event.item_id)
        self.hear(event.item_id, event.ts_ms)

    def join(self, guest: str, user_id: str) -> None:
        """What a guest saw, the user saw."""
        seen = self.seen.pop(guest, None)
        if seen is not None:
            self.seen.setdefault(user_id, set()).update(seen)

    def forget(self, user_id: str) -> None:
        """The user is a new one from now on."""
        self.seen.pop(user_id, None)


class Scores:
    """Ranks of one recommender by kind, a byte per scored event each, and the items that stood on its lists.

    `groups` are those of the events' users.
    """

    def __init__(self) -> None:
        self.ranks = {kind: bytearray() for kind in KINDS}
        self.groups = array("H")
        self.listed: set[str] = set()

    def add(self, moment: Moment, items: Sequence[str], published: Sequence[str] | None = None) -> None:
        """Score the list that was asked for, and the one last pushed to the user if there is such a thing."""
        rank = rank_of(moment.item_id, items)
        is_new = moment.item_id not in moment.seen
        scored = {
            "all": rank,
            "new": rank_of(moment.item_id, items, without=moment.seen) if is_new else NOT_COUNTED,
            "published": NOT_COUNTED if published is None else rank_of(moment.item_id, published),
            "cold_users": rank if moment.cold_user else NOT_COUNTED,
            "cold_items": rank if moment.cold_item else NOT_COUNTED,
            "launches": rank if moment.launched else NOT_COUNTED,
        }
        for kind in KINDS:
            self.ranks[kind].append(scored[kind])
        self.groups.append(moment.group)
        self.listed.update(items[:CUTOFF])

    def figures(self, kind: str) -> Figures:
        """The figures of a kind over the whole stream."""
        return figures(np.frombuffer(self.ranks[kind], np.uint8))

    def parts(self, kind: str, count: int) -> list[Figures]:
        """The figures of a kind over `count` equal parts of the stream."""
        return parts(np.frombuffer(self.ranks[kind], np.uint8), count)

    def __len__(self) -> int:
        return len(self.ranks["all"])
