"""What the server counts of itself, in the text format of Prometheus."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from freshflow.serving.responses import Health, Kind

__all__ = ["AGES_S", "Figures", "Histogram"]

ANSWERS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
AGES_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
OF_INPUTS = (
    ("records", "records_total", "counter", "Records taken over since the start."),
    ("tombstones", "tombstones_total", "counter", "Tombstones among them."),
    (
        "skipped",
        "skipped_total",
        "counter",
        "Records that were not: answers to searches, and what is none of the kind.",
    ),
    ("behind", "behind", "gauge", "Bytes of a file, or records of a topic, that are there and not read yet."),
    ("staleness_s", "staleness_seconds", "gauge", "How long ago the latest record that was read was made."),
)


class Histogram:
    """How many values were at most so large; for one thread to write."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._bins = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def note(self, value: float) -> None:
        """Count a value."""
        self._bins[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self, name: str, labels: str) -> Iterator[str]:
        """Its lines.

        >>> few = Histogram((1.0, 2.0)); few.note(2.0); few.note(7.0)
        >>> list(few.samples("ages", 'of="lists"'))[1:3]
        ['ages_bucket{of="lists",le="2.0"} 1', 'ages_bucket{of="lists",le="+Inf"} 2']
        """
        count = 0
        for bound, more in zip((*map(str, self._bounds), "+Inf"), list(self._bins), strict=True):
            count += more
            yield f'{name}_bucket{{{labels},le="{bound}"}} {count}'
        yield f"{name}_sum{{{labels}}} {self._sum:.6f}"
        yield f"{name}_count{{{labels}}} {count}"


class Figures:
    """Requests by path and status, and by how long the answer took to make."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.took: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(ANSWERS_S))

    def note(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests[path, status] += 1
        self.took[path].note(seconds)

    def text(self, health: Health, ages: Mapping[Kind, Histogram]) -> str:
        """All of it, with how the inputs stand, and the ages of lists when they were stored."""
        return "".join(f"{line}\n" for line in self._lines(health, ages))

    def _lines(self, health: Health, ages: Mapping[Kind, Histogram]) -> Iterator[str]:
        requests = (
            (f'path="{path}",status="{status}"', count) for (path, status), count in sorted(self.requests.items())
        )
        yield from _metric("requests_total", "counter", "Requests by path and status.", requests)
        yield from _about("request_seconds", "histogram", "How long answers took to make.")
        for path, took in sorted(self.took.items()):
            yield from took.samples("freshflow_serve_request_seconds", f'path="{path}"')
        lists = (("recommendations", health.users), ("related", health.items))
        yield from _metric("lists", "gauge", "Lists that are kept.", ((f'kind="{kind}"', many) for kind, many in lists))
        yield from _about("list_age_seconds", "histogram", "From when a list was made to when it could be asked for.")
        for kind, histogram in ages.items():
            yield from histogram.samples("freshflow_serve_list_age_seconds", f'kind="{kind}"')
        for field, name, sort, about in OF_INPUTS:
            values = ((f'kind="{one.kind}"', getattr(one, field)) for one in health.inputs)
            yield from _metric(f"input_{name}", sort, about, values)
        up = ((f'kind="{one.kind}"', int(one.failure is None)) for one in health.inputs)
        yield from _metric("input_up", "gauge", "Whether the input is read.", up)


def _metric(name: str, sort: str, about: str, values: Iterable[tuple[str, float | None]]) -> Iterator[str]:
    yield from _about(name, sort, about)
    for labels, value in values:
        if value is not None:
            yield f"freshflow_serve_{name}{{{labels}}} {value}"


def _about(name: str, sort: str, about: str) -> Iterator[str]:
    yield f"# HELP freshflow_serve_{name} {about}"
    yield f"# TYPE freshflow_serve_{name} {sort}"
