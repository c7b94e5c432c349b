"""Search for idle users, to evict them.

Users are ordered by their last event as read, so the search starts with those inactive for longest and checks a
bounded number. The current time is the median of the most recent users' clocks: one event from the future must not
make all users look idle, and one from the past must not keep them.
"""

from itertools import islice

from freshflow.users.profile import UserProfile

IDLE_CHECK_INTERVAL = 256  # interactions per search: finding the first key of a dict takes up to a millisecond
MAX_IDLE_CHECKS = 512  # users per search: twice as many as can be new since the last one
CLOCK_SAMPLE_USERS = 63  # users whose median clock is the current time


def find_idle_users(users: dict[str, UserProfile], idle_ms: int) -> list[str]:
    """Return the users idle for more than `idle_ms` among the first `MAX_IDLE_CHECKS` users."""
    if not users:
        return []
    active_times = sorted(_last_active_ms(profile) for profile in islice(reversed(users.values()), CLOCK_SAMPLE_USERS))
    oldest_ms = active_times[len(active_times) // 2] - idle_ms
    return [
        user_id for user_id, profile in islice(users.items(), MAX_IDLE_CHECKS) if _last_active_ms(profile) < oldest_ms
    ]


def _last_active_ms(profile: UserProfile) -> int:
    """Return the time of a user's last event, or of their search if they have no other events."""
    return profile.last_ms or (profile.search.ts_ms if profile.search is not None else 0)
