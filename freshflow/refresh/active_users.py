"""The users whose lists are kept fresh: what they were last shown, and how likely they are to act soon.

Users are told apart by how many events of the partition have passed since their own last one, in tiers that double (1,
2-3, 4-7, ...), and by how many items they know, in classes that quadruple (1-3, 4-15, 16-63, 64 and more). Of each
kind the partition counts how many of its events come from such users; divided by their number, that is the hazard h of
one of them.

A list that is made anew spares its user what the old one would have missed until it is made anew again. Where lists are
made every T events, and miss more as evenly as time goes by, that is as much as the new one gains today, for the next
T / 2 events. So what counts is the chance that the user acts within these,  1 - exp(-h T / 2),  with T the events since
the list was made: who comes seldom is worth a message seldom, but not never.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import lean
from freshflow.config.schema import RefreshConfig
from freshflow.items.index import grown
from freshflow.ranking.incremental_scores import OWN, Views
from freshflow.ranking.kernel import Answers
from freshflow.users.profile import UserState, with_shared_ids

__all__ = ["DISMISSED", "EVENT", "LISTED_MS", "NEVER", "RANKED_MS", "TIME_MS", "Acted", "ActiveUsers"]

TIERS, CLASSES = 24, 4
SOONEST, LATEST = 20, 2000  # events: at least and at most T / 2
MEMORY = 2000.0  # events over which arrivals are averaged
FIRST_ROOM = 256
EVICTED_SHARE = 16
NEVER = -1
# Columns of `ActiveUsers.times`.
EVENT, TIME_MS, LISTED, LISTED_MS, RANKED_MS, CLASS, DISMISSED = range(7)


class Acted(NamedTuple):
    """Of acts (N,): the users' `slots`; `is_new` where the list is another than that shown before; `ranks`, from 1, of
    what they came for on that last list, 0 where it was not there.
    """

    slots: NDArray[np.int64]
    is_new: NDArray[np.bool_]
    ranks: NDArray[np.int64]


class ActiveUsers:
    """At most `config.users` users, the least recently active go first.

    By slot: `ids`, `users` (as of their last event), `views` of their lists, `times` (U, 7): event number and event
    time of their last event, and of their last new list, event time of the last full ranking, class, how many items
    they have dismissed.
    """

    def __init__(self, config: RefreshConfig, k: int) -> None:
        self.config = config
        own = OWN if config.interval_s > 0 else 0  # nothing is refreshed: lists alone are kept
        self.slots: dict[str, int] = {}
        self.ids: list[str] = []
        self.users: list[UserState] = []
        self.views = Views(
            np.empty((0, k), np.int32),
            np.empty((0, own), np.int32),
            np.empty((0, own), np.float32),
            np.empty((0, 2), np.float32),
            np.empty((0, own, 2), np.int32),
        )
        self.times = np.empty((0, 7), np.int64)
        self.arrivals = np.zeros(TIERS * CLASSES)
        self.size = np.zeros(TIERS * CLASSES)
        self.evicted = 0

    def act(
        self,
        acts: Sequence[tuple[str, UserState]],
        events: NDArray[np.int64],
        ts_ms: NDArray[np.int64],
        came: NDArray[np.int32],
        rows: NDArray[np.int32],
    ) -> Acted:
        """Users acted, one after the other, with the state they are in since.

        `events` and `ts_ms` (N,) are number and time of what they did, `came` (N,) the rows of the items they came for,
        `rows` (N, K), -1 padded, the lists that they are shown now.
        """
        acted = Acted(np.zeros(len(acts), np.int64), np.zeros(len(acts), np.bool_), np.zeros(len(acts), np.int64))
        first = np.zeros(len(acts), np.bool_)
        done = 0
        for n, (user_id, user) in enumerate(acts):
            slot = self.slots.get(user_id)
            if slot is None:
                if len(self.ids) == self.config.users:  # slots will move
                    self._act(done, n, first, events, ts_ms, came, rows, acts, acted)
                    done = n
                    self._make_room()
                slot = self._new(user_id, user)
                first[n] = True
            acted.slots[n] = slot
            self.users[slot] = user
        self._act(done, len(acts), first, events, ts_ms, came, rows, acts, acted)
        return acted

    def _act(
        self,
        start: int,
        end: int,
        first: NDArray[np.bool_],
        events: NDArray[np.int64],
        ts_ms: NDArray[np.int64],
        came: NDArray[np.int32],
        rows: NDArray[np.int32],
        acts: Sequence[tuple[str, UserState]],
        acted: "Acted",
    ) -> None:
        known = [len(user.items) for _, user in acts[start:end]]
        dismissed = [len(user.dismissed) for _, user in acts[start:end]]
        some = slice(start, end)
        _note(
            self.views.listed,
            self.times,
            self.arrivals,
            first[some],
            events[some],
            ts_ms[some],
            np.array(known, np.int64),
            np.array(dismissed, np.int64),
            came[some],
            rows[some],
            acted.slots[some],
            acted.is_new[some],
            acted.ranks[some],
        )

    def keep(self, slots: NDArray[np.int64], asked: NDArray[np.int64], answers: Answers) -> None:
        """Keep rankings of the users in `slots` (N,), the answers to queries number `asked` (N,), as their bases."""
        self.views.own[slots] = answers.own[asked, :, 0]
        self.views.behind[slots] = answers.own[asked, :, 1:]
        self.views.own_score[slots] = answers.rests[asked]
        self.views.level[slots] = answers.levels[asked]

    def show(self, slots: NDArray[np.int32], lists: NDArray[np.int32], event: int, now_ms: int) -> None:
        """The lists of users in `slots` (N,) hold item rows `lists` (N, K), -1 padded, since event number `event`."""
        self.views.listed[slots] = lists
        self.times[slots, LISTED] = event
        self.times[slots, LISTED_MS] = now_ms

    def who(self, event: int, now_ms: int, least: float) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The slots of users within the horizon whose interval has passed, and their chances to act in time.

        Those with less than the `least` chance are left out.
        """
        config, users = self.config, len(self.ids)
        slots, kinds = np.empty(users, np.int32), np.empty(users, np.int32)
        self.size[:] = 0
        interval_ms, horizon_ms = int(config.interval_s * 1000), int(config.horizon_s * 1000)
        n = _within(self.times[:users], event, now_ms, interval_ms, horizon_ms, self.size, slots, kinds)
        hazard = self.arrivals / np.maximum(self.size, 1)
        within = np.clip((event - self.times[slots[:n], LISTED]) / 2, SOONEST, LATEST)
        chances = 1 - np.exp(-within * hazard[kinds[:n]])
        likely = chances >= least
        return slots[:n][likely], chances[likely]

    def shown(self, row: int) -> NDArray[np.int32]:
        """The slots of users whose lists hold the item in `row`."""
        return np.flatnonzero((self.views.listed[: len(self.ids)] == row).any(axis=1)).astype(np.int32)

    def drop_items(self, rows: NDArray[np.int64]) -> None:
        """Forget item `rows`, which will mean other items from now on."""
        for column in (self.views.listed, self.views.own, self.views.behind[:, :, 1]):
            column[np.isin(column, rows)] = NEVER

    def knows(self, user_id: str) -> bool:
        """Whether a user is among them."""
        return user_id in self.slots

    def forget(self, user_id: str) -> bool:
        """Forget a user; the last one takes over the slot. Whether there was one."""
        slot = self.slots.pop(user_id, None)
        if slot is None:
            return False
        last = len(self.ids) - 1
        for column in (*self.views, self.times):
            column[slot] = column[last]
        self.ids[slot], self.users[slot] = self.ids[last], self.users[last]
        if slot != last:
            self.slots[self.ids[slot]] = slot
        self.ids.pop()
        self.users.pop()
        return True

    def state(self) -> dict[str, Any]:
        """All there is to keep; see `restore`."""
        known = len(self.ids)
        return {
            "ids": self.ids,
            "users": self.users,
            "views": tuple(column[:known] for column in self.views),
            "times": self.times[:known],
            **{name: getattr(self, name) for name in ("arrivals", "size", "evicted")},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`. Lists may have had another length then.

        Where refreshes were off and are on now, nobody is active yet: there is nothing to refresh their lists from.
        """
        views, (_, k), (_, own) = Views(*state["views"]), self.views.listed.shape, self.views.own.shape
        if views.own.shape[1] < own:
            return
        listed = np.full((len(views.listed), k), NEVER, np.int32)
        listed[:, : views.listed.shape[1]] = views.listed[:, :k]
        kept = Views(listed, views.own[:, :own], views.own_score[:, :own], views.level, views.behind[:, :own])
        users = list(map(with_shared_ids, state["users"]))
        vars(self).update(state | {"views": kept, "users": users})
        self.slots = {user_id: slot for slot, user_id in enumerate(self.ids)}

    def _new(self, user_id: str, user: UserState) -> int:
        slot = len(self.ids)
        if slot == len(self.times):
            room = min(max(FIRST_ROOM, 2 * slot), self.config.users)
            self.views = Views(*(grown(column, room, NEVER) for column in self.views))
            self.times = grown(self.times, room)
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


@lean
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
        kind = _tier(event - times[slot, EVENT]) * CLASSES + times[slot, CLASS]
        size[kind] += 1
        if now_ms - times[slot, LISTED_MS] >= interval_ms:
            slots[n], kinds[n] = slot, kind
            n += 1
    return n


@lean
def _note(
    listed: NDArray[np.int32],
    times: NDArray[np.int64],
    arrivals: NDArray[np.float64],
    first: NDArray[np.bool_],
    events: NDArray[np.int64],
    ts_ms: NDArray[np.int64],
    known: NDArray[np.int64],
    dismissed: NDArray[np.int64],
    came: NDArray[np.int32],
    rows: NDArray[np.int32],
    slots: NDArray[np.int64],
    is_new: NDArray[np.bool_],
    ranks: NDArray[np.int64],
) -> None:
    """Take acts (N,), of users in `slots` for the `first` time or again, in order; write `is_new` and `ranks`."""
    for n in range(len(slots)):
        slot = slots[n]
        shown, time = listed[slot], times[slot]
        arrivals *= 1 - 1 / MEMORY
        if first[n]:
            shown[:] = NEVER
        else:
            arrivals[_tier(events[n] - time[EVENT]) * CLASSES + time[CLASS]] += 1 / MEMORY
        for place in range(len(shown)):
            if shown[place] == came[n] and came[n] >= 0:
                ranks[n] = place + 1
            is_new[n] |= shown[place] != rows[n, place]
            shown[place] = rows[n, place]
        time[EVENT], time[CLASS], time[DISMISSED] = events[n], _class(known[n]), dismissed[n]
        time[LISTED] = events[n]
        time[TIME_MS] = time[LISTED_MS] = time[RANKED_MS] = ts_ms[n]


@lean
def _class(known: int) -> int:
    """The number of the class of someone who knows so many items."""
    number = 0
    while known >= 4 and number < CLASSES - 1:
        known >>= 2
        number += 1
    return number


@lean
def _tier(idle: int) -> int:
    """The number of the tier of someone whose last event is so many events ago."""
    tier = 0
    while idle > 1 and tier < TIERS - 1:
        idle >>= 1
        tier += 1
    return tier
