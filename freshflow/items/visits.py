"""A visit: what item knowledge learns from an interaction, and what other partitions are told of it."""

import msgspec

__all__ = ["Visit"]


class Visit(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """What item knowledge learns from an interaction: the item, its context and when; no user.

    This is also the signal that other partitions receive. `context` holds item ids, the most recent first; `opens` says
    that the visit opened a session; `weight` is how much its company counts; `type` is that of the event.
    """

    position: int
    item_id: str
    context: tuple[str, ...]
    ts_ms: int
    opens: bool = False
    weight: float = 1.0
    type: str = "view"
