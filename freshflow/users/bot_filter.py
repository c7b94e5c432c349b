"""Bot detection: event rates, repeats of one item, and event sequences that people do not produce.

The rate of a user is limited by a leaky bucket with one number per user (the "generic cell rate algorithm"). With
N = `noise.events` allowed in W = `noise.window_s`, the sustainable interval is W / N, and the rate excess h is the time
that the user is ahead of it:

    h <- max(0, h + W/N - time since the user's previous event)

An event is over the limit when more than N come at once, that is, when h > W - W/N. h is capped at 2 W, so a bot that
stops counts as a person again after another W. With `noise.unseen`, heavy events in a row on items that the user has
not seen before are limited too. Both numbers are part of the profile (`freshflow.users.profile`).
"""

from typing import Literal

import msgspec

from freshflow.config.schema import NoiseConfig

BotEventKind = Literal["rate", "repeats", "sequence"]

HEAVY_EVENT_WEIGHT = 2.0  # from here on an event (a like, a purchase) normally follows a view of the item


class BotLimits(msgspec.Struct, frozen=True):
    """The thresholds of `[noise]`, where 0 means no limit.

    `min_interval_ms` is the sustainable interval W / N between events.
    """

    min_interval_ms: int = 0
    window_ms: int = 0
    max_repeats: int = 0
    max_session_events: int = 0
    max_unseen: int = 0

    @classmethod
    def from_config(cls, config: NoiseConfig) -> "BotLimits":
        """Return the limits of a configuration."""
        window_ms = round(config.window_s * 1000)
        min_interval_ms = max(1, round(window_ms / config.events)) if config.events else 0
        return cls(min_interval_ms, window_ms, config.repeats, config.session_events, config.unseen)


NO_BOT_LIMITS = BotLimits()


def classify_bot_event(
    rate_excess_ms: int, n_immediate_repeats: int, session_length: int, n_consecutive_unseen: int, limits: BotLimits
) -> BotEventKind | None:
    """Return the kind of limit that a user's latest event exceeds, or None for a person's event.

    >>> limits = BotLimits.from_config(NoiseConfig(events=2, window_s=1.0, repeats=3))
    >>> [classify_bot_event(*values, limits) for values in ((500, 0, 2, 0), (501, 0, 3, 0), (0, 3, 4, 0))]
    [None, 'rate', 'repeats']

    Args:
        rate_excess_ms: The rate excess h after the event.
        n_immediate_repeats: Events in a row on the item before this one.
        session_length: Events of the session.
        n_consecutive_unseen: Heavy events in a row on items that the user had not seen.
        limits: The limits.
    """
    if limits.min_interval_ms and rate_excess_ms > limits.window_ms - limits.min_interval_ms:
        return "rate"
    if limits.max_repeats and n_immediate_repeats >= limits.max_repeats:
        return "repeats"
    if (
        limits.max_session_events and session_length > limits.max_session_events
    ) or n_consecutive_unseen > limits.max_unseen:
        return "sequence"
    return None
