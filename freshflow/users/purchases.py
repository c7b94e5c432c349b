"""Recent purchases of a user, which a rule can hide for a while (`freshflow.rules`).

Purchases are pairs (item id, event time) in a `UserProfile`, one per item with its latest time. Each new purchase drops
those past the retention time, and the oldest of too many.
"""

from msgspec import structs

from freshflow.events.model import Interaction
from freshflow.users.interning import intern_id
from freshflow.users.profile import UserProfile

PURCHASE_TYPE = "purchase"


def add_purchase(profile: UserProfile, event: Interaction, *, retention_ms: int, max_purchases: int) -> UserProfile:
    """Return the profile after a purchase.

    Args:
        profile: The profile before.
        event: The purchase, which can be out of order.
        retention_ms: The time for which purchases are kept.
        max_purchases: The maximum number of purchases kept.
    """
    purchase_times = dict(profile.purchases)
    purchase_times[event.item_id] = max(purchase_times.get(event.item_id, event.ts_ms), event.ts_ms)
    oldest_ms = max(profile.last_ms, event.ts_ms) - retention_ms
    recent_purchases = sorted((ts_ms, item) for item, ts_ms in purchase_times.items() if ts_ms > oldest_ms)[
        -max_purchases:
    ]
    return structs.replace(profile, purchases=tuple((intern_id(item), ts_ms) for ts_ms, item in recent_purchases))


def purchased_items(profile: UserProfile, since_ms: int) -> list[str]:
    """Return the items that the user has purchased after `since_ms`."""
    return [item for item, ts_ms in profile.purchases if ts_ms > since_ms]
