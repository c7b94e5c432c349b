"""What a simulated shop can be told, and the lot it draws by."""

import math
from datetime import datetime
from typing import Literal

import msgspec
import numpy as np

from freshflow.errors import ConfigError

__all__ = ["MS_PER_DAY", "DEFAULT_START", "ShopConfig", "create_rng"]

MS_PER_DAY = 86_400_000
DEFAULT_START = "2025-03-03T00:00:00+00:00"  # a Monday; fixed, since the same seed must give the same bytes
DEFAULT_DAYS = 14.0
# A visitor is in one session at a time, so there is a limit to what one can do in a day. The first number is
# what long streams are given by default; beyond the second they are refused.
DEFAULT_EVENTS_PER_DAY = 20
MAX_EVENTS_PER_DAY = 50


class ShopConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A shop to simulate. Raises `ConfigError` for a value that is not allowed.

    `events` counts what visitors do; the catalogue, requests and noise come on top. `days` None means 14, or
    more where visitors would otherwise be too busy. `requests` is the share of events preceded by a request
    for the user's list, `searches` the share of items that are chosen from the results of a search. `dirty` adds
    duplicates, late events, a bot and broken lines, and changes no other. From the event number `shift` on (from 1),
    other items go together and are popular; None means never. With `embeddings` items appear with vectors of so many
    numbers, which say what they are like; 0 means none.
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
            _require("days", self.days, self.days >= min_days, f"at least {min_days:.3g} for so many events a user")

    @property
    def start_ms(self) -> int:
        """When the shop opens, in epoch milliseconds."""
        return round(datetime.fromisoformat(self.start).timestamp() * 1000)

    @property
    def span_ms(self) -> int:
        """For how long it is watched, in milliseconds."""
        days = self.days
        if days is None:
            days = max(DEFAULT_DAYS, self.events / self.users / DEFAULT_EVENTS_PER_DAY)
        return max(1, math.ceil(days * MS_PER_DAY))

    def time_at_ms(self, share: float) -> int:
        """The time by which `share` (0 to 1) of the span has passed, in epoch milliseconds."""
        return self.start_ms + int(share * self.span_ms)


# The parts that draw by lot; each has its own, so that noise or requests leave the visitors as they are.
RANDOM_STREAMS = ("shop", "visitors", "sessions", "requests", "noise", "shift", "searches", "embeddings")
RandomStream = Literal["shop", "visitors", "sessions", "requests", "noise", "shift", "searches", "embeddings"]


def create_rng(config: ShopConfig, stream: RandomStream) -> np.random.Generator:
    """The lot that one part of the simulation draws by; a function of the seed and the part alone."""
    return np.random.Generator(np.random.PCG64([config.seed, RANDOM_STREAMS.index(stream)]))


def _require(name: str, value: object, is_allowed: bool, expected: str) -> None:
    if not is_allowed:
        raise ConfigError(f"{name} = {value!r} is not allowed: expected {expected}.")


def _has_offset(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
