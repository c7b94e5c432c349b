"""What made a step fail: in a cluster Bytewax shows the user's error in no process, so it is noted on its way out."""

from collections.abc import Callable
from functools import wraps
from logging import getLogger
from typing import Any, TypeVar

from freshflow.errors import FreshFlowError

__all__ = ["FailureRecorder"]

_logger = getLogger("freshflow")

_ResultT = TypeVar("_ResultT")

# What Bytewax calls of a source, a sink and a stateful step while they work. `close` never raises.
WRAPPED_METHODS = ("list_parts", "next_batch", "write_batch", "on_batch", "on_notify", "on_eof", "snapshot")


class FailureRecorder:
    """Notes the first error that a step of this process raised, and logs it where a user cannot have caused it."""

    def __init__(self) -> None:
        self.first_error: Exception | None = None

    def wrap_function(self, step: str, function: Callable[..., _ResultT]) -> Callable[..., _ResultT]:
        """The function, with what it raises noted."""

        @wraps(function)
        def wrapper(*arguments: Any) -> _ResultT:
            try:
                return function(*arguments)
            except StopIteration:  # the end of a source
                raise
            except Exception as error:
                self._record(step, error)
                raise

        return wrapper

    def wrap_builder(self, step: str, build: Callable[..., _ResultT]) -> Callable[..., _ResultT]:
        """The same for a function that builds what Bytewax then calls: a part, or the logic of a step."""
        return self.wrap_function(step, lambda *arguments: self._wrap_methods(step, build(*arguments)))

    def wrap_endpoint(self, step: str, endpoint: _ResultT) -> _ResultT:
        """A source or a sink, with its parts watched."""
        wrapped_endpoint: Any = self._wrap_methods(step, endpoint)
        wrapped_endpoint.build_part = self.wrap_builder(step, wrapped_endpoint.build_part)
        return endpoint

    def _wrap_methods(self, step: str, part: _ResultT) -> _ResultT:
        for name in WRAPPED_METHODS:
            method = getattr(part, name, None)
            if method is not None:
                setattr(part, name, self.wrap_function(step, method))
        return part

    def _record(self, step: str, error: Exception) -> None:
        if self.first_error is not None:
            return
        self.first_error = error
        if not isinstance(error, FreshFlowError):
            _logger.error("Step %s failed; the job stops.", step, exc_info=error)
