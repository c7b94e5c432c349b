"""Who comes to the shop, how often and when: tastes, activity, and the rhythm of the day."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from freshflow.simulator.config import MS_PER_DAY, ShopConfig, create_rng

__all__ = [
    "MAX_SESSION_EVENTS",
    "MEAN_SESSION_EVENTS",
    "MEAN_PAUSE_MS",
    "Visitors",
    "build_visitors",
    "count_events_due",
    "draw_exponentials",
    "draw_uniforms",
]

BLOCK_SIZE = 8192  # numbers drawn at once; one at a time costs twenty times as much
ACTIVITY_TAIL = 1.5  # exponent of the Pareto law: a tenth of the visitors do nearly half of everything
MAX_ACTIVITY = 200.0  # times the least active visitor, so that nobody is the whole shop
TASTE_COUNT_SHARES = (0.35, 0.4, 0.25)  # of visitors like one, two and three categories

SESSION_END_CHANCE = 0.2  # chance that an event is the session's last
MAX_SESSION_EVENTS = 15
MEAN_SESSION_EVENTS = (1 - (1 - SESSION_END_CHANCE) ** MAX_SESSION_EVENTS) / SESSION_END_CHANCE
MEAN_PAUSE_MS = 40_000  # on average from one event of a session to the next

PEAK_HOUR, DAILY_AMPLITUDE = 20, 0.75  # busiest at eight in the evening, seven times as busy as at eight in the morning


class Visitors(NamedTuple):
    """All who may come: the leaf categories each likes, and running sums of how active each is."""

    tastes: list[list[int]]
    activity_sums: np.ndarray[tuple[int], np.dtype[np.float64]]

    def draw_arrivals(self, rng: np.random.Generator) -> Iterator[int]:
        """Visitors without end, each as often as they are active."""
        while True:
            positions = rng.random(BLOCK_SIZE) * self.activity_sums[-1]
            yield from np.searchsorted(self.activity_sums, positions, side="right").tolist()


def build_visitors(config: ShopConfig, n_leaves: int) -> Visitors:
    """Make the visitors of a configuration; the first leaf categories are liked by the most."""
    rng = create_rng(config, "visitors")
    activity = np.minimum(1 + rng.pareto(ACTIVITY_TAIL, config.users), MAX_ACTIVITY)
    liked_leaves = (
        np.minimum((n_leaves + 1) ** rng.random((config.users, len(TASTE_COUNT_SHARES))), n_leaves).astype(int) - 1
    )
    n_tastes = np.searchsorted(np.cumsum(TASTE_COUNT_SHARES)[:-1], rng.random(config.users), side="right") + 1
    tastes = [row[:n_liked] for row, n_liked in zip(liked_leaves.tolist(), n_tastes.tolist(), strict=True)]
    return Visitors(tastes, np.cumsum(activity))


def count_events_due(config: ShopConfig, now_ms: int) -> float:
    """How many events the rhythm of the day wants by `now_ms`: the integral of 1 + a cos(2π(h - peak)/24)."""
    elapsed_share = _integrate_rhythm(min(now_ms - config.start_ms, config.span_ms)) / _integrate_rhythm(config.span_ms)
    return config.events * elapsed_share


def _integrate_rhythm(elapsed_ms: int) -> float:
    radians_per_ms = 2 * math.pi / MS_PER_DAY
    peak_ms = PEAK_HOUR * MS_PER_DAY / 24
    return elapsed_ms + DAILY_AMPLITUDE / radians_per_ms * (
        math.sin(radians_per_ms * (elapsed_ms - peak_ms)) + math.sin(radians_per_ms * peak_ms)
    )


def draw_session_lengths(n_sessions: int, max_events: int, rng: np.random.Generator) -> list[int]:
    """Events in each of up to `n_sessions` sessions: geometric, and no more than `max_events` in all."""
    lengths = np.minimum(rng.geometric(SESSION_END_CHANCE, n_sessions), MAX_SESSION_EVENTS)
    n_events_before = np.cumsum(lengths) - lengths
    capped_lengths: list[int] = np.minimum(lengths, max_events - n_events_before)[n_events_before < max_events].tolist()
    return capped_lengths


def draw_uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Numbers from 0 to below 1, without end."""
    while True:
        yield from rng.random(BLOCK_SIZE).tolist()


def draw_exponentials(mean: float, rng: np.random.Generator) -> Iterator[float]:
    """Waiting times of the given mean, without end."""
    while True:
        yield from rng.exponential(mean, BLOCK_SIZE).tolist()
