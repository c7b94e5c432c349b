"""What a check has found."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from freshflow.errors import find_user_error

__all__ = ["Finding", "failed", "passed", "run_guarded"]


class Finding(NamedTuple):
    """What was looked at, whether a job would run with it, and what there is, or what to do."""

    subject: str
    is_ok: bool
    message: str


def passed(subject: str, message: str) -> Finding:
    """What needs nothing done."""
    return Finding(subject, True, message)


def failed(subject: str, message: str) -> Finding:
    """Something is to be done."""
    return Finding(subject, False, message)


def run_guarded(subject: str, run_check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What `run_check` finds; a failure that a user can mend is a finding, too, and ends it."""
    try:
        yield from run_check()
    except Exception as error:
        user_failure = find_user_error(error)
        if user_failure is None:
            raise
        yield failed(subject, str(user_failure))
