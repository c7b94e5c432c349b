"""Findings of a check before the job starts."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from freshflow.errors import find_user_error


class Finding(NamedTuple):
    """A result of a check: its subject, whether a job would run with it, and the state, or the remedy."""

    subject: str
    is_ok: bool
    message: str


def passed(subject: str, message: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(subject, True, message)


def failed(subject: str, message: str) -> Finding:
    """Return a finding that needs action."""
    return Finding(subject, False, message)


def run_guarded(subject: str, run_check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield the findings of `run_check`; an error that a user can cause becomes a last, failed finding."""
    try:
        yield from run_check()
    except Exception as error:
        user_failure = find_user_error(error)
        if user_failure is None:
            raise
        yield failed(subject, str(user_failure))
