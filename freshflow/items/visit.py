"""A visit: what item knowledge learns from an interaction, and what other partitions are told of it."""

from typing import final

import msgspec

__all__ = ["ItemVisit"]


@final
class ItemVisit(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False, omit_defaults=True):
    """What item knowledge learns from an interaction: the item, its context and when; no user.

    This is also the signal that other partitions receive. `context` holds item ids, the most recent first; `is_session_start` says
    that the visit opened a session; `sample_weight` is how much its company counts; `type` is that of the event. `query_keys`
    are the keys of the query it came after (`freshflow.events.query_keys`), `n_visits_since_search` how many visits came between.
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
