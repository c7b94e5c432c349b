"""What the server counts of itself, in the text format of Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from freshflow.serve.types import Health

__all__ = ["Figures"]

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Figures:
    """Requests by path and status, and by how long the answer took to make."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.bins = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def note(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests[path, status] += 1
        self.bins[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    def text(self, health: Health) -> str:
        """All of it, with how the inputs stand."""
        return "\n".join([*self._lines(health), ""])

    def _lines(self, health: Health) -> Iterator[str]:
        yield "# HELP freshflow_serve_requests_total Requests by path and status."
        yield "# TYPE freshflow_serve_requests_total counter"
        for (path, status), count in sorted(self.requests.items()):
            yield f'freshflow_serve_requests_total{{path="{path}",status="{status}"}} {count}'
        yield "# HELP freshflow_serve_request_seconds How long answers took to make."
        yield "# TYPE freshflow_serve_request_seconds histogram"
        so_far = 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self.bins, strict=True):
            so_far += count
            yield f'freshflow_serve_request_seconds_bucket{{le="{bound}"}} {so_far}'
        yield f"freshflow_serve_request_seconds_sum {self.seconds:.6f}"
        yield f"freshflow_serve_request_seconds_count {so_far}"
        yield "# HELP freshflow_serve_lists Lists that are kept."
        yield "# TYPE freshflow_serve_lists gauge"
        yield f'freshflow_serve_lists{{kind="recommendations"}} {health.users}'
        yield f'freshflow_serve_lists{{kind="related"}} {health.items}'
        for name, kind, about in (
            ("records", "counter", "Records read since the start."),
            ("tombstones", "counter", "Tombstones among them."),
            ("skipped", "counter", "Records that were none of the kind."),
            ("behind", "gauge", "Bytes of a file, or records of a topic, that are there and not read yet."),
            ("staleness_s", "gauge", "Seconds since the latest record that was read was made."),
        ):
            shown = name.replace("staleness_s", "staleness_seconds") + ("_total" if kind == "counter" else "")
            yield f"# HELP freshflow_serve_input_{shown} {about}"
            yield f"# TYPE freshflow_serve_input_{shown} {kind}"
            for one in health.inputs:
                value = getattr(one, name)
                if value is not None:
                    yield f'freshflow_serve_input_{shown}{{kind="{one.kind}"}} {value}'
        yield "# HELP freshflow_serve_input_up Whether the input is still read."
        yield "# TYPE freshflow_serve_input_up gauge"
        for one in health.inputs:
            yield f'freshflow_serve_input_up{{kind="{one.kind}"}} {int(one.failure is None)}'
