"""Ranking by the definitions: dicts and loops over the whole list of visits, for worlds small enough to hold it all."""

import math
from collections import defaultdict
from collections.abc import Sequence

from freshflow.items.visit import ItemVisit
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURES
from freshflow.ranking.query import Query

HOUR_MS = 3_600_000
HALF_LIVES_MS = {"hour": HOUR_MS, "day": 24 * HOUR_MS, "week": 168 * HOUR_MS}
WINDOWS = {"last_50": 50, "last_200": 200, "last_2000": 2_000}


class Naive:
    """What the definitions say of queries after `visits`, whose contexts hold at most ten items."""

    def __init__(self, visits: Sequence[ItemVisit]) -> None:
        self.visits = list(visits)
        self.openings = [visit for visit in visits if visit.is_session_start]
        self.known: set[str] = set()
        self.contexts = []  # of each visit: items, "" for one that was not known then
        # item: neighbour: [forward, together, follow], neighbours in the order of their first meeting
        self.pairs = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0, 0.0]))
        for visit in visits:
            self.known.add(visit.item_id)
            self.contexts.append([other if other in self.known else "" for other in visit.context])
            self._meet(visit, self.contexts[-1])

    def _meet(self, visit: ItemVisit, context: list[str]) -> None:
        for n, other in enumerate(context):
            if other not in (visit.item_id, ""):
                forward, together = self.pairs[other][visit.item_id], self.pairs[visit.item_id][other]
                forward[0] += visit.sample_weight / (n + 1)
                forward[1] += visit.sample_weight
                forward[2] += visit.sample_weight if n == 0 else 0
                together[1] += visit.sample_weight

    def total(self, item: str, n: int) -> float:
        """Sum of forward (0), together (1) or follow (2) of an item."""
        return sum(weights[n] for weights in self.pairs[item].values())

    def evidence(self, query: Query) -> dict[str, dict[str, float]]:
        """Evidence by candidate, where there is any company."""
        found = defaultdict(lambda: defaultdict(float))
        for age, item in enumerate(query.context.items[:10]):
            for other, weights in self.pairs[item].items():
                self._company(found[other], item, other, weights, age)
        for age, item in enumerate(query.context.items[:3]):
            strongest = sorted(self.pairs[item].items(), key=lambda pair: -pair[1][1])[:6]
            for over, (_, together, _) in strongest:
                for other, weights in self.pairs[over].items():
                    share = together / self.total(item, 1) * weights[1] / self.total(over, 1)
                    found[other]["two_steps"] += 0.8**age * share
        return found

    def _company(self, found: dict[str, float], item: str, other: str, weights: list[float], age: int) -> None:
        forward, together, follow = weights
        shares = {"forward": forward / max(self.total(item, 0), 1e-9), "together": together / self.total(item, 1)}
        for name, share in shares.items():
            if age < 2:
                found[f"{name}_{('last', 'second')[age]}"] = share
            found[f"{name}_sum"] += 0.8**age * share
            found[f"{name}_max"] = max(found[f"{name}_max"], share)
        if age == 0:
            found["follow_last"] = follow / max(self.total(item, 2), 1e-9)
            found["backward_last"] = (together - forward) / self.total(item, 1)
            found["count_last"] = together
        found["cosine"] += 0.8**age * together / math.sqrt(self.total(item, 1) * self.total(other, 1))
        found["count_sum"] += 0.8**age * together

    def features(self, query: Query) -> dict[str, list[float]]:
        """The features of every item that was visited."""
        evidence = self.evidence(query)
        return {item: self._features(query, item, evidence[item]) for item in self.known}

    def _features(self, query: Query, item: str, evidence: dict[str, float]) -> list[float]:
        now_ms, context, user = query.now_ms, query.context, query.profile
        x = dict.fromkeys(FEATURES, 0.0)
        for name, value in evidence.items():
            x[name] = math.log(1 + value) / 5 if name.startswith("count") else log_share(value)
        x |= popularities(self.visits, item, now_ms)
        x |= {f"opening_{name}": value for name, value in popularities(self.openings, item, now_ms).items()}
        mine = [visit for visit in self.visits if visit.item_id == item]
        x["age"] = log_age(now_ms - min(visit.ts_ms for visit in mine))
        x["idle"] = log_age(now_ms - max(visit.ts_ms for visit in mine))
        x["visits"] = math.log(1 + len(mine)) / 8
        if item in context.items[:10]:
            place = context.items.index(item)
            came_back = sum(
                visit.item_id == item and item in before
                for visit, before in zip(self.visits, self.contexts, strict=True)
            )
            after = [
                visit.item_id for visit, before in zip(self.visits, self.contexts, strict=True) if before[:1] == [item]
            ]
            habits = {
                "return_rate": (came_back + 0.5) / (len(mine) + 2),
                "stay_rate": (after.count(item) + 0.5) / (len(after) + 2),
                "habit": repeated(query),
                "pause": math.log(1 + context.idle_ms / 1000) / 8,
            }
            x |= {"in_context": 1, "context_place": 1 / (place + 1)}
            x |= {"context_last": place == 0, "context_second": place == 1}
            x |= {"context_by_length": math.log(1 + context.session_length) / 3} | habits
            if place == 0:
                x |= {f"{name}_last": value for name, value in habits.items()}
        if item in user.items:
            at = user.items.index(item)
            x |= {"own": 1, "own_count": math.log(1 + user.counts[at]) / 5}
            x |= {"own_recency": max(1 - log_age(now_ms - user.seen_ms[at]), 0), "own_rank": 1 / (len(user.items) - at)}
        return [float(x[name]) for name in FEATURES]

    def moment(self, query: Query) -> list[float]:
        """The features of the moment."""
        context, user = query.context, query.profile
        z = dict.fromkeys(CONTEXT_FEATURES, 0.0)
        length = context.session_length
        z |= {"no_context": not context.items or context.items[0] not in self.known, "opens": length == 0}
        z |= {"length": min(length, 10) / 5, "length_1": length == 1, "length_2": length == 2}
        z["pause_before"] = math.log(1 + context.idle_ms / 1000) / 8
        z["history"] = math.log(1 + len(user.items)) / 3
        if context.items and context.items[0] in self.known:
            z["last_visits"] = math.log(1 + self.total(context.items[0], 1)) / 5
        if length:
            came = ("came_new", "came_again", "came_second", "came_older")
            z[came[min(user.session_position + 1, 3)]] = 1
            z["stays"] = math.log(1 + user.n_immediate_repeats)
        z["repeated"] = repeated(query)
        return [float(z[name]) for name in CONTEXT_FEATURES]


def log_share(share: float) -> float:
    """log(1 + 100 s) / log(101)."""
    return math.log(1 + 100 * share) / math.log(101)


def log_age(age_ms: float) -> float:
    """log(1 + seconds) / 18, 0 for what lies ahead."""
    return math.log(1 + max(age_ms, 0) / 1000) / 18


def repeated(query: Query) -> float:
    """The share of the session's events that went back to an item of it."""
    length = query.context.session_length
    return 1 - len(query.profile.session) / length if length else 0.0


def popularities(visits: Sequence[ItemVisit], item: str, now_ms: int) -> dict[str, float]:
    """The shares of `item` in `visits`, on their scale, by memory."""
    x = {}
    for name, window in WINDOWS.items():
        last = visits[-window:]
        x[name] = log_share(sum(visit.item_id == item for visit in last) / max(len(last), 1))
    mine = [visit for visit in visits if visit.item_id == item]
    for name, half_life_ms in HALF_LIVES_MS.items():
        share = decayed(mine, now_ms, half_life_ms) / max(decayed(visits, now_ms, half_life_ms), 1e-9)
        x[name] = log_share(min(share, 1))
    return x


def decayed(visits: Sequence[ItemVisit], now_ms: int, half_life_ms: float) -> float:
    """Sum of 2^(-age / half-life), as of the latest of the visits if that lies ahead."""
    if not visits:
        return 0.0
    as_of = max(now_ms, *(visit.ts_ms for visit in visits))
    return sum(0.5 ** ((as_of - visit.ts_ms) / half_life_ms) for visit in visits)
