"""What a user has bought lately, so that it need not be shown again for a while (`freshflow.rules`).

Purchases are (item id, event time) pairs in a `UserState`, one an item, the latest of it. Those that are older than
they are wanted for go with the next purchase, and of too many those longest ago.
"""

from msgspec import structs

from freshflow.events.model import Interaction
from freshflow.users.interning import intern_id
from freshflow.users.profile import UserProfile

__all__ = ["PURCHASE_TYPE", "purchased_items", "add_purchase"]

PURCHASE_TYPE = "purchase"


def add_purchase(profile: UserProfile, event: Interaction, *, retention_ms: int, max_purchases: int) -> UserProfile:
    """The state after the purchase `event`, which may have come out of order; at most `max_purchases` of `retention_ms` are kept."""
    purchase_times = dict(profile.purchases)
    purchase_times[event.item_id] = max(purchase_times.get(event.item_id, event.ts_ms), event.ts_ms)
    oldest_ms = max(profile.last_ms, event.ts_ms) - retention_ms
    recent_purchases = sorted((ts_ms, item) for item, ts_ms in purchase_times.items() if ts_ms > oldest_ms)[
        -max_purchases:
    ]
    return structs.replace(profile, purchases=tuple((intern_id(item), ts_ms) for ts_ms, item in recent_purchases))


def purchased_items(profile: UserProfile, since_ms: int) -> list[str]:
    """The items that the user has bought later than `since_ms`."""
    return [item for item, ts_ms in profile.purchases if ts_ms > since_ms]
