"""What was published last, so that a list that did not change is not published again."""

from collections.abc import Iterable
from hashlib import blake2b

__all__ = ["Published"]


class Published:
    """A 64-bit digest of each user's last list; at most `bound` users, those published longest ago go first.

    A user who has fallen out is published once more than needed, which is harmless.
    """

    def __init__(self, bound: int, digests: dict[str, int] | None = None) -> None:
        self.bound = bound
        self.digests = digests or {}
        self.evicted = 0

    def is_new(self, user_id: str, item_ids: Iterable[str]) -> bool:
        """Whether this list differs from the user's last one; from now on it is the last one."""
        text = "\n".join(item_ids)
        digest = int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) if text else 0
        if self.digests.get(user_id, 0) == digest:
            return False
        self.digests.pop(user_id, None)  # to the end of the order
        self.digests[user_id] = digest
        if len(self.digests) > self.bound:
            del self.digests[next(iter(self.digests))]
            self.evicted += 1
        return True

    def forget(self, user_id: str) -> None:
        """Forget the user's last list."""
        self.digests.pop(user_id, None)
