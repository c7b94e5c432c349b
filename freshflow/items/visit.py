"""A visit: the part of an interaction that item statistics learn and other partitions receive."""

from typing import final

import msgspec


@final
class ItemVisit(msgspec.Struct, frozen=True, tag="item_visit", tag_field="kind", gc=False, omit_defaults=True):
    """A visit of an item, without its user.

    Attributes:
        position: The position of the event in its source.
        item_id: The item.
        context: Item ids, the most recent first.
        ts_ms: Event time.
        is_session_start: The visit starts a session.
        sample_weight: The weight of its co-visitation.
        type: The type of the event.
        query_keys: Keys of the query that it came after (`freshflow.events.query_keys`).
        n_visits_since_search: Visits between the query and this one.
    """

    position: int
    item_id: str
    context: tuple[str, ...]
    ts_ms: int
    is_session_start: bool = False
    sample_weight: float = 1.0
    type: str = "view"
    query_keys: tuple[str, ...] = ()
    n_visits_since_search: int = 0
