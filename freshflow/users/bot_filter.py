"""What is no person's behaviour: a bot's pace, a loop on one item, a sequence that nobody follows.

A user's pace is watched with one number (a leaky bucket, as the "generic cell rate algorithm" has it). With N =
`noise.events` in W = `noise.window_s` allowed, an event every W / N is sustainable, and the haste h is how far the user
is ahead of that:

    h <- max(0, h + W/N - time since the user's event before)

An event is one too many when more than N come at once, that is, where h > W - W/N. The haste stops growing at 2 W, so a
bot that stops is a user again soon after another W. Heavy events in a row with items that were not seen before them are
counted, too, where `noise.unseen` limits them. Both numbers are in the user's state (`freshflow.users.profile`).
"""

from typing import Literal

import msgspec

from freshflow.config.schema import NoiseConfig

__all__ = ["HEAVY_EVENT_WEIGHT", "NO_BOT_LIMITS", "BotEventKind", "BotLimits", "classify_bot_event"]

BotEventKind = Literal["rate", "repeats", "sequence"]

# Events that take more than a look, for which a user has had to find the item first.
HEAVY_EVENT_WEIGHT = 2.0


class BotLimits(msgspec.Struct, frozen=True):
    """The thresholds of [noise]; 0 means that there is none. `min_interval_ms` is the least sustainable pause."""

    min_interval_ms: int = 0
    window_ms: int = 0
    max_repeats: int = 0
    max_session_events: int = 0
    max_unseen: int = 0

    @classmethod
    def from_config(cls, config: NoiseConfig) -> "BotLimits":
        """The limits of a configuration."""
        window_ms = round(config.window_s * 1000)
        min_interval_ms = max(1, round(window_ms / config.events)) if config.events else 0
        return cls(min_interval_ms, window_ms, config.repeats, config.session_events, config.unseen)


NO_BOT_LIMITS = BotLimits()


def classify_bot_event(
    rate_excess_ms: int, n_immediate_repeats: int, session_length: int, n_consecutive_unseen: int, limits: BotLimits
) -> BotEventKind | None:
    """What is wrong with a user's latest event, after which the user's state has these figures.

    >>> limits = BotLimits.from_config(NoiseConfig(events=2, window_s=1.0, repeats=3))
    >>> [classify_bot_event(*counts, 0, limits) for counts in ((500, 0, 2), (501, 0, 3), (0, 3, 4))]
    [None, 'rate', 'repeats']
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
