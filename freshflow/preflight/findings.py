"""What a check has found."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from freshflow.errors import user_error

__all__ = ["Finding", "bad", "good", "guarded"]


class Finding(NamedTuple):
    """What was looked at, whether a job would run with it, and what there is, or what to do."""

    what: str
    is_ok: bool
    says: str


def good(what: str, says: str) -> Finding:
    """What needs nothing done."""
    return Finding(what, True, says)


def bad(what: str, says: str) -> Finding:
    """Something is to be done."""
    return Finding(what, False, says)


def guarded(what: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What `look` finds; a failure that a user can mend is a finding, too, and ends it."""
    try:
        yield from look()
    except Exception as error:
        sentence = user_error(error)
        if sentence is None:
            raise
        yield bad(what, str(sentence))
