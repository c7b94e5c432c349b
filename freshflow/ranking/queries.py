"""A query: for whom, and for which moment, items are to be ranked."""

import msgspec

from freshflow.users.state import Context, UserState

__all__ = ["Query"]


class Query(msgspec.Struct, frozen=True, gc=False):
    """What ranking needs to know of a user at `now_ms` (event time).

    `only` restricts the candidates to these item ids, all of which are ranked (search); `exclude_seen` leaves out
    what the history holds. `position` says how many visits of the chunk came before it.
    """

    user: UserState
    context: Context
    now_ms: int
    position: int = 0
    only: tuple[str, ...] | None = None
    exclude_seen: bool = False
