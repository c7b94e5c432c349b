"""What made a step fail: in a cluster Bytewax shows the user's error in no process, so it is noted on its way out."""

from collections.abc import Callable
from functools import wraps
from logging import getLogger
from typing import Any, TypeVar

from freshflow.errors import FreshFlowError

__all__ = ["Failures"]

log = getLogger("freshflow")

T = TypeVar("T")

# What Bytewax calls of a source, a sink and a stateful step while they work. `close` never raises.
CALLED = ("list_parts", "next_batch", "write_batch", "on_batch", "on_notify", "on_eof", "snapshot")


class Failures:
    """Notes the first error that a step of this process raised, and logs it where a user cannot have caused it."""

    def __init__(self) -> None:
        self.first: Exception | None = None

    def watched(self, step: str, function: Callable[..., T]) -> Callable[..., T]:
        """The function, with what it raises noted."""

        @wraps(function)
        def watching(*arguments: Any) -> T:
            try:
                return function(*arguments)
            except StopIteration:  # the end of a source
                raise
            except Exception as error:
                self._note(step, error)
                raise

        return watching

    def watched_builder(self, step: str, build: Callable[..., T]) -> Callable[..., T]:
        """The same for a function that builds what Bytewax then calls: a part, or the logic of a step."""
        return self.watched(step, lambda *arguments: self._watch(step, build(*arguments)))

    def watched_endpoint(self, step: str, endpoint: T) -> T:
        """A source or a sink, with its parts watched."""
        watched: Any = self._watch(step, endpoint)
        watched.build_part = self.watched_builder(step, watched.build_part)
        return endpoint

    def _watch(self, step: str, part: T) -> T:
        for name in CALLED:
            method = getattr(part, name, None)
            if method is not None:
                setattr(part, name, self.watched(step, method))
        return part

    def _note(self, step: str, error: Exception) -> None:
        if self.first is not None:
            return
        self.first = error
        if not isinstance(error, FreshFlowError):
            log.error("Step %s failed; the job stops.", step, exc_info=error)
