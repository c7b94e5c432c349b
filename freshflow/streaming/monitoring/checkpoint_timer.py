"""How long the ends of epochs take, step by step: nothing is read or ranked meanwhile."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

__all__ = ["EpochTimes"]


class EpochTimes:
    """Of this process and by step: how many snapshots were taken, of sinks also flushes, and in how many seconds."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def wrap_builder(self, step: str, build: Callable[..., Any]) -> Callable[..., Any]:
        """The function that builds a part or the logic of a step, whose `snapshot` is timed then."""
        return lambda *arguments: self._wrap_snapshot(step, build(*arguments))

    def wrap_endpoint(self, step: str, endpoint: Any) -> Any:
        """A source or a sink, with its parts timed."""
        endpoint.build_part = self.wrap_builder(step, endpoint.build_part)
        return endpoint

    def _wrap_snapshot(self, step: str, part: Any) -> Any:
        snapshot = part.snapshot

        def timed_snapshot() -> Any:
            start_s = time.perf_counter()
            try:
                return snapshot()
            finally:
                self.counts[step] += 1
                self.seconds[step] += time.perf_counter() - start_s

        part.snapshot = timed_snapshot
        return part
