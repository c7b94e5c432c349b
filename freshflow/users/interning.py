"""Ids that many states hold, as one text in memory.

As `sys.intern` does it, but that Python 3.12 never frees what it has interned, and ids come from outside without end.
"""

__all__ = ["shared"]

MOST = 1 << 18  # ids known at once; then all are let go, and those that still come are soon known again

_known: dict[str, str] = {}


def shared(text: str) -> str:
    """The text that is known as equal to `text`, or itself from now on."""
    if len(_known) >= MOST:
        _known.clear()
    return _known.setdefault(text, text)
