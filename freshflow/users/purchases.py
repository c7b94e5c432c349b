"""What a user has bought lately, so that it need not be shown again for a while (`freshflow.rules`).

Purchases are (item id, event time) pairs in a `UserState`, one an item, the latest of it. Those that are older than
they are wanted for go with the next purchase, and of too many those longest ago.
"""

from msgspec import structs

from freshflow.events.model import Behaviour
from freshflow.users.interning import shared
from freshflow.users.profile import UserState

__all__ = ["PURCHASE", "bought_since", "with_bought"]

PURCHASE = "purchase"


def with_bought(state: UserState, event: Behaviour, *, keep_ms: int, limit: int) -> UserState:
    """The state after the purchase `event`, which may have come out of order; at most `limit` of `keep_ms` are kept."""
    times = dict(state.bought)
    times[event.item_id] = max(times.get(event.item_id, event.ts_ms), event.ts_ms)
    oldest_ms = max(state.last_ms, event.ts_ms) - keep_ms
    kept = sorted((ts_ms, item) for item, ts_ms in times.items() if ts_ms > oldest_ms)[-limit:]
    return structs.replace(state, bought=tuple((shared(item), ts_ms) for ts_ms, item in kept))


def bought_since(state: UserState, since_ms: int) -> list[str]:
    """The items that the user has bought later than `since_ms`."""
    return [item for item, ts_ms in state.bought if ts_ms > since_ms]
