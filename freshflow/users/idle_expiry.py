"""Which users have been away for too long to be kept.

Users stand in the order of their last event as it was read, so those who have been away longest are looked at first, a
bounded number at a time. "Now" is where the latest users' clocks are, in the middle of them: one event from the future
must not make everybody look as if they had long been gone, nor one from the past keep them for ever.
"""

from itertools import islice

from freshflow.users.profile import UserProfile

__all__ = ["IDLE_CHECK_INTERVAL", "find_idle_users"]

IDLE_CHECK_INTERVAL = 256  # interactions from look to look; to find the first of a table costs up to a millisecond
MAX_IDLE_CHECKS = 512  # users at one look: twice as many as can have come since the last
CLOCK_SAMPLE_USERS = 63  # users whose clocks say what time it is


def find_idle_users(users: dict[str, UserProfile], idle_ms: int) -> list[str]:
    """Of the `MAX_IDLE_CHECKS` users who come first, those whose last event is more than `idle_ms` ago."""
    if not users:
        return []
    active_times = sorted(_last_active_ms(profile) for profile in islice(reversed(users.values()), CLOCK_SAMPLE_USERS))
    oldest_ms = active_times[len(active_times) // 2] - idle_ms
    return [
        user_id for user_id, profile in islice(users.items(), MAX_IDLE_CHECKS) if _last_active_ms(profile) < oldest_ms
    ]


def _last_active_ms(profile: UserProfile) -> int:
    """When somebody last did something; of who has only searched so far, that."""
    return profile.last_ms or (profile.search.ts_ms if profile.search is not None else 0)
