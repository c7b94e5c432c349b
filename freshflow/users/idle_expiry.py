"""Which users have been away for too long to be kept.

Users stand in the order of their last event as it was read, so those who have been away longest are looked at first, a
bounded number at a time. "Now" is where the latest users' clocks are, in the middle of them: one event from the future
must not make everybody look as if they had long been gone, nor one from the past keep them for ever.
"""

from itertools import islice

from freshflow.users.profile import UserState

__all__ = ["LOOK_EVERY", "away_too_long"]

LOOK_EVERY = 256  # interactions from look to look; to find the first of a table costs up to a millisecond
LOOKED_AT = 512  # users at one look: twice as many as can have come since the last
WITNESSES = 63  # users whose clocks say what time it is


def away_too_long(users: dict[str, UserState], idle_ms: int) -> list[str]:
    """Of the `LOOKED_AT` users who come first, those whose last event is more than `idle_ms` ago."""
    if not users:
        return []
    clocks = sorted(_heard_ms(user) for user in islice(reversed(users.values()), WITNESSES))
    oldest_ms = clocks[len(clocks) // 2] - idle_ms
    return [user_id for user_id, user in islice(users.items(), LOOKED_AT) if _heard_ms(user) < oldest_ms]


def _heard_ms(user: UserState) -> int:
    """When somebody last did something; of who has only searched so far, that."""
    return user.last_ms or (user.search.ts_ms if user.search is not None else 0)
