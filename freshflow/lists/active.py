"""The users whose lists are kept fresh: what they were last shown, and how likely they are to act soon.

Users are told apart by how many events of the partition have passed since their own last one, in tiers that double (1,
2-3, 4-7, ...), and by how many items they know, in classes that quadruple (1-3, 4-15, 16-63, 64 and more). Of each
kind the partition counts how many of its events come from such users; divided by their number, that is the hazard h of
one of them, and  1 - exp(-h SOON)  the chance to act within the next `SOON` events.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow.compiled import compiled
from freshflow.config import RefreshConfig
from freshflow.items.rows import grown
from freshflow.ranking.rising import OWN, Views
from freshflow.users.state import UserState

__all__ = ["EVENT", "LISTED_MS", "NEVER", "RANKED_MS", "TIME_MS", "ActiveUsers"]

TIERS, CLASSES = 24, 4
SOON = 100  # events
MEMORY = 2000.0  # events over which arrivals are averaged
FIRST_ROOM = 256
EVICTED_SHARE = 16
NEVER = -1
# Columns of `ActiveUsers.times`.
EVENT, TIME_MS, LISTED_MS, RANKED_MS, CLASS = range(5)


class ActiveUsers:
    """At most `config.users` users, the least recently active go first.

    By slot: `ids`, `users` (as of their last event), `views` of their lists, `times` (U, 5): event number and event
    time of their last event, event time of the last new list and of the last full ranking, class; and what stood behind
    their best items, `behind` (U, P, 2): reason, and row of the item of the context behind it.
    """

    def __init__(self, config: RefreshConfig, k: int) -> None:
        self.config = config
        self.slots: dict[str, int] = {}
        self.ids: list[str] = []
        self.users: list[UserState] = []
        self.views = Views(
            np.empty((0, k), np.int32),
            np.empty((0, OWN), np.int32),
            np.empty((0, OWN), np.float32),
            np.empty((0, 2), np.float32),
        )
        self.times = np.empty((0, 5), np.int64)
        self.behind = np.empty((0, OWN, 2), np.int32)
        self.arrivals = np.zeros(TIERS * CLASSES)
        self.size = np.zeros(TIERS * CLASSES)
        self.evicted = 0

    def listed_rank(self, user_id: str, row: int) -> int:
        """The rank, from 1, of an item row on the user's last list; 0 if it is not there."""
        slot = self.slots.get(user_id)
        if slot is None:
            return 0
        listed = self.views.listed[slot].tolist()
        return listed.index(row) + 1 if row in listed else 0

    def act(self, user_id: str, user: UserState, event: int, ts_ms: int) -> int:
        """The user acted, as event number `event`; their slot."""
        slot = self.slots.get(user_id)
        self.arrivals *= 1 - 1 / MEMORY
        if slot is None:
            slot = self._new(user_id, user)
        else:
            idle = event - int(self.times[slot, EVENT])
            tier = min(max(idle, 1).bit_length() - 1, TIERS - 1)
            self.arrivals[tier * CLASSES + int(self.times[slot, CLASS])] += 1 / MEMORY
        self.users[slot] = user
        known = min((max(len(user.items), 1).bit_length() - 1) // 2, CLASSES - 1)
        self.times[slot] = event, ts_ms, ts_ms, ts_ms, known
        return slot

    def shows(self, user_id: str, rows: NDArray[np.int32]) -> bool:
        """Whether the user's last list held exactly item `rows`, in this order; a new user's held none."""
        slot = self.slots.get(user_id)
        if slot is None:
            return not len(rows)
        listed = self.views.listed[slot]
        return bool((listed[: len(rows)] == rows).all() and (listed[len(rows) :] == NEVER).all())

    def show(self, slot: int, rows: NDArray[np.int32]) -> None:
        """The user's list now holds item `rows`."""
        listed = self.views.listed
        listed[slot, : len(rows)] = rows
        if len(rows) < listed.shape[1]:
            listed[slot, len(rows) :] = NEVER

    def who(self, event: int, now_ms: int, least: float) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The slots of users within the horizon whose interval has passed, and their chances to act soon.

        Those with less than the `least` chance are left out.
        """
        config, users = self.config, len(self.ids)
        slots, kinds = np.empty(users, np.int32), np.empty(users, np.int32)
        self.size[:] = 0
        interval_ms, horizon_ms = int(config.interval_s * 1000), int(config.horizon_s * 1000)
        n = _within(self.times[:users], event, now_ms, interval_ms, horizon_ms, self.size, slots, kinds)
        hazard = self.arrivals / np.maximum(self.size, 1)
        chances = (1 - np.exp(-SOON * hazard))[kinds[:n]]
        likely = chances >= least
        return slots[:n][likely], chances[likely]

    def drop_items(self, rows: NDArray[np.int64]) -> None:
        """Forget item `rows`, which will mean other items from now on."""
        for column in (self.views.listed, self.views.own, self.behind[:, :, 1]):
            column[np.isin(column, rows)] = NEVER

    def forget(self, user_id: str) -> None:
        """Forget a user; the last one takes over the slot."""
        slot = self.slots.pop(user_id, None)
        if slot is None:
            return
        last = len(self.ids) - 1
        for column in (*self.views, self.times, self.behind):
            column[slot] = column[last]
        self.ids[slot], self.users[slot] = self.ids[last], self.users[last]
        if slot != last:
            self.slots[self.ids[slot]] = slot
        self.ids.pop()
        self.users.pop()

    def _new(self, user_id: str, user: UserState) -> int:
        if len(self.ids) == self.config.users:
            self._make_room()
        slot = len(self.ids)
        if slot == len(self.times):
            room = min(max(FIRST_ROOM, 2 * slot), self.config.users)
            self.views = Views(*(grown(column, room, NEVER) for column in self.views))
            self.times, self.behind = grown(self.times, room), grown(self.behind, room)
        self.slots[user_id] = slot
        self.ids.append(user_id)
        self.users.append(user)
        return slot

    def _make_room(self) -> None:
        """Drop the least recently active sixteenth."""
        oldest = np.argsort(self.times[: len(self.ids), EVENT], kind="stable")
        dropped = [self.ids[slot] for slot in oldest[: max(1, len(self.ids) // EVICTED_SHARE)].tolist()]
        for user_id in dropped:
            self.forget(user_id)
        self.evicted += len(dropped)


@compiled
def _within(
    times: NDArray[np.int64],
    event: int,
    now_ms: int,
    interval_ms: int,
    horizon_ms: int,
    size: NDArray[np.float64],
    slots: NDArray[np.int32],
    kinds: NDArray[np.int32],
) -> int:
    """Write the slots and kinds of users within the horizon whose interval has passed; count all by kind in `size`."""
    n = 0
    for slot in range(len(times)):
        if now_ms - times[slot, TIME_MS] > horizon_ms:
            continue
        idle, tier = event - times[slot, EVENT], 0
        while idle > 1 and tier < TIERS - 1:
            idle >>= 1
            tier += 1
        kind = tier * CLASSES + times[slot, CLASS]
        size[kind] += 1
        if now_ms - times[slot, LISTED_MS] >= interval_ms:
            slots[n], kinds[n] = slot, kind
            n += 1
    return n
