"""Who comes to the shop, how often and when: tastes, activity, and the rhythm of the day."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from freshflow.simulator.config import DAY_MS, ShopConfig, generator

__all__ = [
    "LONGEST_SESSION",
    "MEAN_SESSION",
    "PAUSE_MS",
    "Visitors",
    "build_visitors",
    "events_due",
    "exponentials",
    "uniforms",
]

BLOCK = 8192  # numbers drawn at once; one at a time costs twenty times as much
ACTIVITY_TAIL = 1.5  # exponent of the Pareto law: a tenth of the visitors do nearly half of everything
BUSIEST = 200.0  # times the least active visitor, so that nobody is the whole shop
TASTES = (0.35, 0.4, 0.25)  # of visitors like one, two and three categories

LEAVE = 0.2  # chance that an event is the session's last
LONGEST_SESSION = 15
MEAN_SESSION = (1 - (1 - LEAVE) ** LONGEST_SESSION) / LEAVE
PAUSE_MS = 40_000  # on average from one event of a session to the next

PEAK_HOUR, SWING = 20, 0.75  # busiest at eight in the evening, seven times as busy as at eight in the morning


class Visitors(NamedTuple):
    """All who may come: the leaf categories each likes, and running sums of how active each is."""

    tastes: list[list[int]]
    activity_sums: np.ndarray[tuple[int], np.dtype[np.float64]]

    def arrivals(self, rng: np.random.Generator) -> Iterator[int]:
        """Visitors without end, each as often as they are active."""
        while True:
            places = rng.random(BLOCK) * self.activity_sums[-1]
            yield from np.searchsorted(self.activity_sums, places, side="right").tolist()


def build_visitors(config: ShopConfig, leaves: int) -> Visitors:
    """Make the visitors of a configuration; the first leaf categories are liked by the most."""
    rng = generator(config, "visitors")
    activity = np.minimum(1 + rng.pareto(ACTIVITY_TAIL, config.users), BUSIEST)
    liked = np.minimum((leaves + 1) ** rng.random((config.users, len(TASTES))), leaves).astype(int) - 1
    count = np.searchsorted(np.cumsum(TASTES)[:-1], rng.random(config.users), side="right") + 1
    tastes = [row[:first] for row, first in zip(liked.tolist(), count.tolist(), strict=True)]
    return Visitors(tastes, np.cumsum(activity))


def events_due(config: ShopConfig, now_ms: int) -> float:
    """How many events the rhythm of the day wants by `now_ms`: the integral of 1 + a cos(2π(h - peak)/24)."""
    through = _rhythm(min(now_ms - config.start_ms, config.span_ms)) / _rhythm(config.span_ms)
    return config.events * through


def _rhythm(elapsed_ms: int) -> float:
    turn = 2 * math.pi / DAY_MS
    peak_ms = PEAK_HOUR * DAY_MS / 24
    return elapsed_ms + SWING / turn * (math.sin(turn * (elapsed_ms - peak_ms)) + math.sin(turn * peak_ms))


def session_lengths(count: int, most: int, rng: np.random.Generator) -> list[int]:
    """Events in each of up to `count` sessions: geometric, and no more than `most` in all."""
    lengths = np.minimum(rng.geometric(LEAVE, count), LONGEST_SESSION)
    before = np.cumsum(lengths) - lengths
    kept: list[int] = np.minimum(lengths, most - before)[before < most].tolist()
    return kept


def uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Numbers from 0 to below 1, without end."""
    while True:
        yield from rng.random(BLOCK).tolist()


def exponentials(mean: float, rng: np.random.Generator) -> Iterator[float]:
    """Waiting times of the given mean, without end."""
    while True:
        yield from rng.exponential(mean, BLOCK).tolist()
