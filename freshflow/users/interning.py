"""Interning of ids: equal ids of many profiles share one string in memory.

`sys.intern` is not used, because Python 3.12 never frees interned strings, and the number of ids is unbounded.
"""

MAX_INTERNED_IDS = 1 << 18  # bounds memory: a full table is cleared, and fills again with the ids in use

_interned_ids: dict[str, str] = {}


def intern_id(text: str) -> str:
    """Return the interned string equal to `text`, which is `text` itself the first time."""
    if len(_interned_ids) >= MAX_INTERNED_IDS:
        _interned_ids.clear()
    return _interned_ids.setdefault(text, text)
