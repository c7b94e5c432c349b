"""Configuration of a simulated shop, and its random generators."""

import math
from datetime import datetime
from typing import Literal

import msgspec
import numpy as np

from freshflow.errors import ConfigError

MS_PER_DAY = 86_400_000
DEFAULT_START = "2025-03-03T00:00:00+00:00"  # a Monday; fixed, because equal seeds must give equal bytes
DEFAULT_DAYS = 14.0
# Sessions of a visitor do not overlap, which limits events per visitor and day: the first number sets the length of
# long streams by default, the second is the maximum.
DEFAULT_EVENTS_PER_DAY = 20
MAX_EVENTS_PER_DAY = 50


class ShopConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of a simulated shop. Raises `ConfigError` for invalid values.

    Attributes:
        events: Interactions of visitors; catalogue events, requests and noise are extra.
        users: Visitors.
        items: Items.
        days: Simulated days; None means 14, or more if visitors would otherwise be too busy.
        seed: Seed of all random generators.
        start: Opening time, ISO 8601 with an offset.
        requests: Share of the events preceded by a request for the user's list.
        dirty: Add duplicates, late events, a bot and broken lines; other lines are unchanged.
        shift: Event number (from 1) of a preference shift: from there on, other items are popular and belong together.
            None means no shift.
        searches: Share of the items that are chosen from search results.
        embeddings: Dimensions of the content vectors of items; 0 means no vectors.
    """

    events: int = 50_000
    users: int = 2_000
    items: int = 1_000
    days: float | None = None
    seed: int = 7
    start: str = DEFAULT_START
    requests: float = 0.0
    dirty: bool = True
    shift: int | None = None
    searches: float = 0.0
    embeddings: int = 0

    def __post_init__(self) -> None:
        _require("events", self.events, 1 <= self.events <= 10**10, "a whole number from 1 to 10000000000")
        _require("users", self.users, 1 <= self.users <= 10**7, "a whole number from 1 to 10000000")
        _require("items", self.items, 20 <= self.items <= 10**7, "a whole number from 20 to 10000000")
        _require("seed", self.seed, 0 <= self.seed < 2**63, "a whole number from 0 to 2^63 - 1")
        _require("requests", self.requests, 0 <= self.requests <= 1, "a share from 0 to 1")
        _require("searches", self.searches, 0 <= self.searches <= 1, "a share from 0 to 1")
        _require("start", self.start, _has_offset(self.start), "an ISO 8601 time with its offset")
        _require("embeddings", self.embeddings, 0 <= self.embeddings <= 4096, "a whole number from 0 to 4096")
        if self.shift is not None:
            _require("shift", self.shift, 1 <= self.shift <= self.events, f"a whole number from 1 to {self.events}")
        if self.days is not None:
            _require("days", self.days, 0 < self.days <= 36_500, "a number of days above 0 and up to 36500")
            min_days = self.events / self.users / MAX_EVENTS_PER_DAY
            _require(
                "days", self.days, self.days >= min_days, f"at least {min_days:.3g} for this number of events per user"
            )

    @property
    def start_ms(self) -> int:
        """Opening time of the shop, in epoch milliseconds."""
        return round(datetime.fromisoformat(self.start).timestamp() * 1000)

    @property
    def span_ms(self) -> int:
        """Simulated time span, in milliseconds."""
        days = self.days
        if days is None:
            days = max(DEFAULT_DAYS, self.events / self.users / DEFAULT_EVENTS_PER_DAY)
        return max(1, math.ceil(days * MS_PER_DAY))

    def time_at_ms(self, share: float) -> int:
        """Return the time at which `share` (0 to 1) of the span has passed, in epoch milliseconds."""
        return self.start_ms + int(share * self.span_ms)


# Parts of the simulation with a random generator each, so that options such as noise leave the visitors unchanged.
RANDOM_STREAMS = ("shop", "visitors", "sessions", "requests", "noise", "shift", "searches", "embeddings")
RandomStream = Literal["shop", "visitors", "sessions", "requests", "noise", "shift", "searches", "embeddings"]


def create_rng(config: ShopConfig, stream: RandomStream) -> np.random.Generator:
    """Create the random generator of one part of the simulation, seeded by the configuration and the part only."""
    return np.random.Generator(np.random.PCG64([config.seed, RANDOM_STREAMS.index(stream)]))


def _require(name: str, value: object, is_allowed: bool, expected: str) -> None:
    if not is_allowed:
        raise ConfigError(f"{name} = {value!r} is not allowed: expected {expected}.")


def _has_offset(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
