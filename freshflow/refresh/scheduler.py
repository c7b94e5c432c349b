"""Lists of users who are not acting, made again where the world has changed them.

After every few events the partition looks at the lists of its active users (`freshflow.refresh.active_users`) as they would be
by now, made from the scores that all users share (`freshflow.ranking.incremental_scores`), and publishes those that are expected to
gain enough. A user is ranked in full when their session ends, as what they will want at the next one differs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import Raw, structs
from numpy.typing import NDArray

from freshflow.config.schema import Config
from freshflow.events.model import Behaviour, Identify
from freshflow.items.index import NO_ROW, ItemRows
from freshflow.items.revisits import VISITS
from freshflow.items.statistics import ItemKnowledge
from freshflow.outputs.assembly import Listed, items_of
from freshflow.outputs.json_writer import ItemTexts, text_of
from freshflow.outputs.records import ListItem
from freshflow.ranking.incremental_scores import OWN, everyones_scores, look, popular_now
from freshflow.ranking.kernel import ITEM, Answers
from freshflow.ranking.query import Query
from freshflow.ranking.scoring import AGAIN, NEW, POPULAR, SIMILAR, TOGETHER, Weights
from freshflow.refresh.active_users import DISMISSED, NEVER, RANKED_MS, TIME_MS, Acted, ActiveUsers
from freshflow.search.reranker import Searches
from freshflow.users.profile import UserState, context_at

__all__ = ["Refresh", "Refreshed", "Ruled"]

SHARED = 400  # items at most that everyone may be shown
# Users whose lists are looked at, and who are ranked in full, at one look at most; more than these take turns.
LOOKED_AT_ONCE, RANKED_AT_ONCE = 1500, 16
# Lists that are made in full at one look, where rules have a say in them.
REMADE_AT_ONCE = 16
# A user is ranked in full when their session ends, and whenever they have been idle so many times as long as then.
AGED = 48
# What a list must be expected to gain, in hits, to be published: at least this, and as much more as keeps the lists
# within the budget, of which so many may be saved up.
LEAST_WORTH, MOST_WORTH, DEARER = 1 / 1000, 1 / 10, 1.02
SAVED = 1000.0
# Looks that are left out, at most, after looks that found nothing.
LONGEST_PAUSE = 32

Refreshed = tuple[str, Raw]
Rank = Callable[[Sequence[Query]], Answers]


class Ruled(NamedTuple):
    """Where rules choose what is shown: the rows `hidden` from everyone, and what makes the lists of users in slots in
    full at a time, and gives those that are new.
    """

    hidden: NDArray[np.bool_]
    remake: Callable[[NDArray[np.int32], int], list[Refreshed]]


class Refresh:
    """Decides whose list is made again, and makes it, if it is `on`; in any case it knows what users were shown."""

    def __init__(self, config: Config, searches: Searches, texts: ItemTexts, on: bool) -> None:
        self.config = config
        self.searches = searches
        self.texts = texts
        self.on = on
        self.active = ActiveUsers(config.refresh, config.lists.k)
        self.allowed = 0.0  # lists that may be published yet
        self.worth = 4 * LEAST_WORTH
        self.pause = self.paused = 0
        self.turn = 0  # the slot from which on to look

    def note(
        self,
        acts: Sequence[tuple[Behaviour | Identify, UserState]],
        events: Sequence[int],
        came: Sequence[int],
        asked: NDArray[np.int64],
        answers: Answers,
    ) -> Acted:
        """Users acted, as events of these numbers, for items in rows `came`, and were ranked as queries `asked`."""
        rows = answers.places[asked, : self.config.lists.k, ITEM]
        acted = self.active.act(
            [(event.user_id, user) for event, user in acts],
            np.array(events, np.int64),
            np.array([user.last_ms for _, user in acts], np.int64),
            np.array(came, np.int32),
            rows,
        )
        if self.on:
            self.active.keep(acted.slots, asked, answers)
            share = self.config.refresh.max_share
            self.allowed = min(self.allowed + len(acts) * share / (1 - share), SAVED)
        return acted

    def lists(
        self,
        knowledge: ItemKnowledge,
        weights: Weights,
        rank: Rank,
        event: int,
        now_ms: int,
        ruled: Ruled | None = None,
    ) -> list[Refreshed]:
        """The lists that are worth publishing by `now_ms`, after event number `event`.

        Where rules choose what is shown, shared scores only say whose list is worth a look: these users, a few at a
        time, are ranked in full.
        """
        if self.paused < self.pause:
            self.paused += 1
            return []
        changed = self._changed(knowledge, weights, rank, event, now_ms, ruled)
        self.worth *= DEARER if self.allowed < SAVED / 2 else 1 / DEARER
        self.worth = min(max(self.worth, LEAST_WORTH), MOST_WORTH)
        self.pause = self.pause // 2 if changed else min(2 * self.pause + 1, LONGEST_PAUSE)
        self.paused = 0
        return changed

    def _changed(
        self,
        knowledge: ItemKnowledge,
        weights: Weights,
        rank: Rank,
        event: int,
        now_ms: int,
        ruled: Ruled | None,
    ) -> list[Refreshed]:
        active = self.active
        slots, chances = self._in_turn(*active.who(event, now_ms, self.worth))
        if not len(slots):
            return []
        self._rank_the_idle(slots, rank, now_ms)
        tables, linear, units = knowledge.tables, weights.linear[0], weights.units
        known = np.full(knowledge.capacity, np.nan)
        popular = np.empty(SHARED, np.int32)
        popular = popular[: popular_now(tables, popular, np.zeros(knowledge.capacity, np.bool_))]
        everyones_scores(tables, linear, units, now_ms, popular, known)
        popular = popular[np.argsort(-known[popular], kind="stable")]
        if ruled is not None:
            popular = popular[~ruled.hidden[popular]]
        banned, starts = self._banned(slots, knowledge.rows)
        found = np.empty((len(slots), self.config.lists.k), np.int32)
        places, scores, worthy = np.empty_like(found), np.empty(found.shape), np.empty(len(slots), np.int32)
        gains = np.empty(len(slots))
        n = look(
            *(tables, linear, units, now_ms, active.views, slots, chances, banned, starts, self.worth),
            *(known, popular, found, places, scores, worthy, gains),
        )
        best = np.argsort(-gains[worthy[:n]], kind="stable")[: int(self.allowed)]
        if ruled is not None:
            made = ruled.remake(slots[worthy[best[:REMADE_AT_ONCE]]], now_ms)
            self.allowed -= len(made)
            return made
        self.allowed -= len(best)
        worthy = slots[worthy[best]]
        active.show(worthy, found[best], event, now_ms)
        return self._lists(worthy, found[best], places[best], scores[best], knowledge)

    def _in_turn(
        self, slots: NDArray[np.int32], chances: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Those of rising `slots` whose turn it is, with their chances."""
        if len(slots) <= LOOKED_AT_ONCE:
            return slots, chances
        chosen = (np.searchsorted(slots, self.turn) + np.arange(LOOKED_AT_ONCE)) % len(slots)
        self.turn = int(slots[chosen[-1]]) + 1
        return slots[chosen], chances[chosen]

    def _banned(self, slots: NDArray[np.int32], rows: ItemRows) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The rows that users have turned down, one user's after the other's, and where each one's begin."""
        picky = np.flatnonzero(self.active.times[slots, DISMISSED])
        by_user = [rows.rows(self.active.users[slot].dismissed) for slot in slots[picky].tolist()]
        starts = np.zeros(len(slots) + 1, np.int64)
        starts[picky + 1] = [len(banned) for banned in by_user]
        return np.array([row for banned in by_user for row in banned], np.int32), np.cumsum(starts)

    def state(self) -> dict[str, Any]:
        """All there is to keep; see `restore`."""
        own = {name: getattr(self, name) for name in ("allowed", "worth", "pause", "paused", "turn")}
        return {"own": own, "active": self.active.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        vars(self).update(state["own"])
        self.active.restore(state["active"])

    def _rank_the_idle(self, slots: NDArray[np.int32], rank: Rank, now_ms: int) -> None:
        """Rank users in full whose session has ended since that was last done."""
        users, times = self.config.users, self.active.times
        gap_ms = int(users.session_gap_s * 1000)
        idle_ms, ranked_at_ms = now_ms - times[slots, TIME_MS], times[slots, RANKED_MS] - times[slots, TIME_MS]
        aged = idle_ms > np.maximum(gap_ms, AGED * ranked_at_ms)
        due = slots[aged][:RANKED_AT_ONCE]
        if len(due):
            self._keep(due, rank(self.queries(due, now_ms)), now_ms)

    def queries(self, slots: NDArray[np.int32], now_ms: int) -> list[Query]:
        """What to ask to rank users in `slots` in full."""
        users, k = self.config.users, self.config.lists.k
        gap_ms = int(users.session_gap_s * 1000)
        queries = []
        for slot in slots.tolist():
            user = self.active.users[slot]
            context = context_at(user, now_ms, gap_ms=gap_ms, limit=users.context)
            query = Query(user, context, now_ms, k=max(OWN, k) if self.on else k, keep=self.on)
            queries.append(self.searches.with_chosen(query))
        return queries

    def show(self, slots: NDArray[np.int32], answers: Answers, event: int, now_ms: int) -> NDArray[np.bool_]:
        """The first queries of `answers` were those of users in `slots`, who are shown what was answered.

        Whose list is another than before.
        """
        lists = answers.places[: len(slots), : self.config.lists.k, ITEM]
        is_new: NDArray[np.bool_] = (self.active.views.listed[slots] != lists).any(axis=1)
        self.active.show(slots, lists, event, now_ms)
        if self.on:
            self._keep(slots, answers, now_ms)
        return is_new

    def _keep(self, slots: NDArray[np.int32], answers: Answers, now_ms: int) -> None:
        self.active.keep(slots.astype(np.int64), np.arange(len(slots)), answers)
        self.active.times[slots, RANKED_MS] = now_ms

    def _lists(
        self,
        slots: NDArray[np.int32],
        rows: NDArray[np.int32],
        places: NDArray[np.int32],
        scores: NDArray[np.float64],
        knowledge: ItemKnowledge,
    ) -> list[Refreshed]:
        """The lists (N, K) of users in `slots` (N,)."""
        ids = knowledge.rows.ids
        own = (places != NEVER) & (rows != NO_ROW)
        behind = self.active.views.behind[slots[:, None], np.where(own, places, 0)]
        reasons, sources = np.where(own, behind[..., 0], POPULAR), np.where(own, behind[..., 1], NO_ROW)
        sources = np.where(reasons == AGAIN, rows, sources)
        reasons[(reasons == TOGETHER) & (sources == NO_ROW)] = POPULAR  # what it came with has been dropped since
        if self.config.content.on:
            reasons[(reasons == SIMILAR) & (sources == NO_ROW)] = NEW
            visited = knowledge.tables.returns.counts[rows, VISITS] > 0
            reasons[(reasons == NEW) & visited] = POPULAR
        sizes = np.count_nonzero(rows != NO_ROW, axis=1)
        several = Listed(rows, scores, reasons, sources, sizes)
        tied = ((scores[:, 1:] == scores[:, :-1]) & (rows[:, 1:] != NO_ROW)).any(axis=1)
        for n in np.flatnonzero(tied).tolist():
            order = sorted(range(sizes[n]), key=lambda at: (-scores[n, at], ids[rows[n, at]]))
            for column in (rows, scores, reasons, sources, places):
                column[n, : sizes[n]] = column[n, order]
        if self.config.lists.contributions:
            texts = [
                text_of([self._explained(slot, item, place) for item, place in zip(items, own, strict=False)])
                for slot, items, own in zip(slots.tolist(), items_of(several, ids), places.tolist(), strict=True)
            ]
        else:
            texts = self.texts.of(several, ids)
        return [(self.active.ids[slot], text) for slot, text in zip(slots.tolist(), texts, strict=True)]

    def _explained(self, slot: int, item: ListItem, place: int) -> ListItem:
        """The two parts of a score: what speaks for the item to everyone, and what for this user's sake."""
        views = self.active.views
        rest = float(views.own_score[slot, place] if place != NEVER else views.level[slot, 0])
        return structs.replace(item, contributions={"everyone": item.score - rest, "user": rest})
