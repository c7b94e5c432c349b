"""Ids that many states hold, as one text in memory.

As `sys.intern` does it, but that Python 3.12 never frees what it has interned, and ids come from outside without end.
"""

__all__ = ["intern_id"]

MAX_INTERNED_IDS = 1 << 18  # ids known at once; then all are let go, and those that still come are soon known again

_interned_ids: dict[str, str] = {}


def intern_id(text: str) -> str:
    """The text that is known as equal to `text`, or itself from now on."""
    if len(_interned_ids) >= MAX_INTERNED_IDS:
        _interned_ids.clear()
    return _interned_ids.setdefault(text, text)
