"""Visitors of a simulated shop: tastes, activity, and the daily rhythm."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from freshflow.simulator.config import MS_PER_DAY, ShopConfig, create_rng

BLOCK_SIZE = 8192  # numbers per draw; single draws take twenty times as long
ACTIVITY_TAIL = 1.5  # Pareto exponent: a tenth of the visitors produce nearly half of the events
MAX_ACTIVITY = 200.0  # relative to the least active visitor, so that no visitor dominates
TASTE_COUNT_SHARES = (0.35, 0.4, 0.25)  # shares of visitors who like one, two and three categories

SESSION_END_CHANCE = 0.2  # probability that an event is the last of its session
MAX_SESSION_EVENTS = 15
MEAN_SESSION_EVENTS = (1 - (1 - SESSION_END_CHANCE) ** MAX_SESSION_EVENTS) / SESSION_END_CHANCE
MEAN_PAUSE_MS = 40_000  # mean time between events of a session

PEAK_HOUR, DAILY_AMPLITUDE = 20, 0.75  # the peak at 20:00 is seven times the rate at 08:00


class Visitors(NamedTuple):
    """All visitors: the leaf categories that each likes, and cumulative sums of their activity.

    `activity_sums` has shape (users,).
    """

    tastes: list[list[int]]
    activity_sums: np.ndarray[tuple[int], np.dtype[np.float64]]

    def draw_arrivals(self, rng: np.random.Generator) -> Iterator[int]:
        """Yield visitors without end, with probabilities proportional to their activity."""
        while True:
            positions = rng.random(BLOCK_SIZE) * self.activity_sums[-1]
            yield from np.searchsorted(self.activity_sums, positions, side="right").tolist()


def build_visitors(config: ShopConfig, n_leaves: int) -> Visitors:
    """Build the visitors of a configuration; lower leaf categories are liked by more visitors."""
    rng = create_rng(config, "visitors")
    activity = np.minimum(1 + rng.pareto(ACTIVITY_TAIL, config.users), MAX_ACTIVITY)
    liked_leaves = (
        np.minimum((n_leaves + 1) ** rng.random((config.users, len(TASTE_COUNT_SHARES))), n_leaves).astype(int) - 1
    )
    n_tastes = np.searchsorted(np.cumsum(TASTE_COUNT_SHARES)[:-1], rng.random(config.users), side="right") + 1
    tastes = [row[:n_liked] for row, n_liked in zip(liked_leaves.tolist(), n_tastes.tolist(), strict=True)]
    return Visitors(tastes, np.cumsum(activity))


def count_events_due(config: ShopConfig, now_ms: int) -> float:
    """Return the number of events due by `now_ms`: the integral of the rate 1 + a cos(2π(h - peak)/24), scaled."""
    elapsed_share = _integrate_rhythm(min(now_ms - config.start_ms, config.span_ms)) / _integrate_rhythm(config.span_ms)
    return config.events * elapsed_share


def _integrate_rhythm(elapsed_ms: int) -> float:
    radians_per_ms = 2 * math.pi / MS_PER_DAY
    peak_ms = PEAK_HOUR * MS_PER_DAY / 24
    return elapsed_ms + DAILY_AMPLITUDE / radians_per_ms * (
        math.sin(radians_per_ms * (elapsed_ms - peak_ms)) + math.sin(radians_per_ms * peak_ms)
    )


def draw_session_lengths(n_sessions: int, max_events: int, rng: np.random.Generator) -> list[int]:
    """Draw the number of events of each session: geometric, with a maximum in total.

    Args:
        n_sessions: Maximum number of sessions.
        max_events: Maximum number of events in all sessions.
        rng: The random generator.
    """
    lengths = np.minimum(rng.geometric(SESSION_END_CHANCE, n_sessions), MAX_SESSION_EVENTS)
    n_events_before = np.cumsum(lengths) - lengths
    capped_lengths: list[int] = np.minimum(lengths, max_events - n_events_before)[n_events_before < max_events].tolist()
    return capped_lengths


def draw_uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Yield uniform numbers from [0, 1) without end."""
    while True:
        yield from rng.random(BLOCK_SIZE).tolist()


def draw_exponentials(mean: float, rng: np.random.Generator) -> Iterator[float]:
    """Yield exponential waiting times with the given mean without end."""
    while True:
        yield from rng.exponential(mean, BLOCK_SIZE).tolist()
