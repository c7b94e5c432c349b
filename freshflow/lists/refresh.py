"""Lists of users who are not acting, made again where the world has changed them.

After every few events the partition looks at the lists of its active users (`freshflow.lists.active`) as they would be
by now, made from the scores that all users share (`freshflow.ranking.rising`), and publishes those that are expected to
gain enough. A user is ranked in full when their session ends, as what they will want at the next one differs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from freshflow.config import Config
from freshflow.events.types import Behaviour
from freshflow.items.knowledge import ItemKnowledge
from freshflow.items.rows import ItemRows
from freshflow.lists.active import LISTED_MS, NEVER, RANKED_MS, TIME_MS, ActiveUsers
from freshflow.lists.types import ListItem
from freshflow.ranking.answers import BECAUSE, CANDIDATE, FOUND, LISTED, REASON, ROW, Answers
from freshflow.ranking.queries import CONTEXT_LENGTH, Query
from freshflow.ranking.rising import OWN, Views, everyones_scores, look, popular_now, take_base
from freshflow.ranking.scoring import REASONS, Weights
from freshflow.users.state import context_at

__all__ = ["Refresh", "Refreshed"]

SHARED = 400  # items at most that everyone may be shown
RANKED_AT_ONCE = 16  # users ranked in full at one look
# A user is ranked in full when their session ends, and whenever they have been idle so many times as long as then.
AGED = 12
# What a list must be expected to gain, in hits, to be published: at least this, and as much more as keeps the lists
# within the budget, of which so many may be saved up.
LEAST_WORTH, MOST_WORTH, DEARER = 1 / 1000, 1 / 10, 1.02
SAVED = 1000.0
# Looks that are left out, at most, after looks that found nothing.
LONGEST_PAUSE = 32
POPULAR, AGAIN = REASONS.index("popular"), REASONS.index("again")

Refreshed = tuple[str, tuple[ListItem, ...]]
Rank = Callable[[Sequence[Query]], Answers]


class Refresh:
    """Decides whose list is made again, and makes it, if it is `on`; in any case it knows what users were shown."""

    def __init__(self, config: Config, on: bool) -> None:
        self.config = config
        self.on = on
        self.active = ActiveUsers(config.refresh, config.lists.k)
        self.allowed = 0.0  # lists that may be published yet
        self.worth = 4 * LEAST_WORTH
        self.pause = self.paused = 0

    def note(
        self, event: Behaviour, query: Query, number: int, q: int, answers: Answers, weights: Weights, rows: ItemRows
    ) -> bool:
        """The user acted, as event number `number`, and was ranked as query `q`; whether that gave another list."""
        active, user_id = self.active, event.user_id
        places = answers.places[q, : min(answers.facts[q, LISTED], self.config.lists.k), CANDIDATE]
        listed = answers.candidates[q, places, ROW]
        is_new = not active.shows(user_id, listed)
        slot = active.act(user_id, query.user, number, event.ts_ms)
        active.show(slot, listed)
        if not self.on:
            return is_new
        self._base(slot, q, answers, weights, query, rows)
        share = self.config.refresh.max_share
        self.allowed = min(self.allowed + share / (1 - share), SAVED)
        return is_new

    def lists(self, knowledge: ItemKnowledge, weights: Weights, rank: Rank, event: int, now_ms: int) -> list[Refreshed]:
        """The lists that are worth publishing by `now_ms`, after event number `event`."""
        if self.paused < self.pause:
            self.paused += 1
            return []
        changed = self._changed(knowledge, weights, rank, event, now_ms)
        self.worth *= DEARER if self.allowed < SAVED / 2 else 1 / DEARER
        self.worth = min(max(self.worth, LEAST_WORTH), MOST_WORTH)
        self.pause = self.pause // 2 if changed else min(2 * self.pause + 1, LONGEST_PAUSE)
        self.paused = 0
        return changed

    def _changed(
        self, knowledge: ItemKnowledge, weights: Weights, rank: Rank, event: int, now_ms: int
    ) -> list[Refreshed]:
        active = self.active
        slots, chances = active.who(event, now_ms, self.worth)
        if not len(slots):
            return []
        self._rank_the_idle(slots, rank, weights, knowledge.rows, now_ms)
        tables, linear, units = knowledge.tables, weights.linear[0], weights.units
        known = np.full(knowledge.capacity, np.nan)
        popular = np.empty(SHARED, np.int32)
        popular = popular[: popular_now(tables, popular, np.zeros(knowledge.capacity, np.bool_))]
        everyones_scores(tables, linear, units, now_ms, popular, known)
        popular = popular[np.argsort(-known[popular], kind="stable")]
        banned, starts = self._banned(slots, knowledge.rows)
        found = np.empty((len(slots), self.config.lists.k), np.int32)
        places, scores, worthy = np.empty_like(found), np.empty(found.shape), np.empty(len(slots), np.int32)
        gains = np.empty(len(slots))
        n = look(
            *(tables, linear, units, now_ms, active.views, slots, chances, banned, starts, self.worth),
            *(known, popular, found, places, scores, worthy, gains),
        )
        changed = []
        best = np.argsort(-gains[:n], kind="stable")[: int(self.allowed)]
        for at in best.tolist():
            slot, rows = int(slots[worthy[at]]), found[at]
            if rows[-1] == NEVER:
                rows = rows[rows != NEVER]
            changed.append(self._list(slot, rows, places[at].tolist(), scores[at].tolist(), knowledge.rows.ids))
            active.times[slot, LISTED_MS] = now_ms
        self.allowed -= len(changed)
        return changed

    def _banned(self, slots: NDArray[np.int32], rows: ItemRows) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The rows that users have turned down, one user's after the other's, and where each one's begin."""
        banned: list[int] = []
        starts = [0]
        for slot in slots.tolist():
            dismissed = self.active.users[slot].dismissed
            if dismissed:
                banned += rows.rows(dismissed)
            starts.append(len(banned))
        return np.array(banned, np.int32), np.array(starts, np.int64)

    def state(self) -> dict[str, Any]:
        """All there is to keep; see `restore`."""
        active = {name: value for name, value in vars(self.active).items() if name not in ("config", "views")}
        own = {name: getattr(self, name) for name in ("allowed", "worth", "pause", "paused")}
        return {"own": own, "views": tuple(self.active.views), "active": active}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        vars(self).update(state["own"])
        views = Views(*state["views"])
        k = self.config.lists.k
        listed = np.full((len(views.listed), k), NEVER, np.int32)  # lists may have had another length then
        listed[:, : views.listed.shape[1]] = views.listed[:, :k]
        vars(self.active).update(state["active"] | {"views": views._replace(listed=listed)})

    def _rank_the_idle(
        self, slots: NDArray[np.int32], rank: Rank, weights: Weights, rows: ItemRows, now_ms: int
    ) -> None:
        """Rank users in full whose session has ended since that was last done."""
        users, times = self.config.users, self.active.times
        gap_ms = int(users.session_gap_s * 1000)
        idle_ms, ranked_at_ms = now_ms - times[slots, TIME_MS], times[slots, RANKED_MS] - times[slots, TIME_MS]
        aged = idle_ms > np.maximum(gap_ms, AGED * ranked_at_ms)
        due = slots[aged][:RANKED_AT_ONCE].tolist()
        if not due:
            return
        queries = []
        for slot in due:
            user = self.active.users[slot]
            context = context_at(user, now_ms, gap_ms=gap_ms, limit=users.context)
            queries.append(Query(user, context, now_ms, k=max(OWN, self.config.lists.k)))
        answers = rank(queries)
        for q, slot in enumerate(due):
            self._base(slot, q, answers, weights, queries[q], rows)
            times[slot, RANKED_MS] = now_ms

    def _base(self, slot: int, q: int, answers: Answers, weights: Weights, query: Query, rows: ItemRows) -> None:
        active, found = self.active, answers.facts[q, FOUND]
        places = answers.places[q, : min(answers.facts[q, LISTED], OWN)]
        at = places[:, CANDIDATE]
        take_base(
            *(weights.linear[0], weights.units, answers.candidates[q, :found], answers.features[q, :found]),
            *(answers.scores[q, :found], at, active.views, slot),
        )
        active.behind[slot, : len(at), 0] = places[:, REASON]
        mind = np.array([*rows.rows_or_none(query.context.items[:CONTEXT_LENGTH]), NEVER], np.int32)
        active.behind[slot, : len(at), 1] = mind[answers.candidates[q, at, BECAUSE]]

    def _list(
        self, slot: int, rows: NDArray[np.int32], places: list[int], scores: list[float], ids: Sequence[str]
    ) -> Refreshed:
        active = self.active
        behind = active.behind[slot].tolist()
        items = [
            ListItem(ids[row], score, "popular", ())
            if place == NEVER or behind[place][0] == POPULAR
            else _personal(ids[row], score, behind[place][0], behind[place][1], ids)
            for row, place, score in zip(rows.tolist(), places, scores, strict=False)
        ]
        if self.config.lists.contributions:
            items = [self._explained(slot, item, place) for item, place in zip(items, places, strict=False)]
        active.show(slot, rows)
        if len(set(scores)) < len(scores):
            items.sort(key=lambda item: (-item.score, item.item_id))
        return active.ids[slot], tuple(items)

    def _explained(self, slot: int, item: ListItem, place: int) -> ListItem:
        """The two parts of a score: what speaks for the item to everyone, and what for this user's sake."""
        views = self.active.views
        rest = float(views.own_score[slot, place] if place != NEVER else views.level[slot, 0])
        return structs.replace(item, contributions={"everyone": item.score - rest, "user": rest})


def _personal(item_id: str, score: float, reason: int, behind: int, ids: Sequence[str]) -> ListItem:
    """An item that the user came back to, or that keeps company, unless the item behind it has been dropped since."""
    if reason == AGAIN:
        return ListItem(item_id, score, "again", (item_id,))
    if behind == NEVER:
        return ListItem(item_id, score, "popular", ())
    return ListItem(item_id, score, "together", (ids[behind],))
