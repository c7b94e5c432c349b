"""The operator that compares variants: it holds the latest report of every partition."""

from collections.abc import Callable, Iterable

from bytewax.operators import StatefulBatchLogic

from freshflow.io.record import OutBatch
from freshflow.metrics.report import Report, encode_comparison
from freshflow.streaming.experiment import Variants


class ComparisonOperator(StatefulBatchLogic[Report, OutBatch, bytes]):  # type: ignore[misc]
    """Reports in, comparisons out, once every partition has reported.

    Nothing is stored for recovery: the partitions report again.
    """

    def __init__(self, variants: Variants, clock: Callable[[], int]) -> None:
        self.variants = variants
        self.clock = clock
        self.reports: dict[int, Report] = {}

    def on_batch(self, values: list[Report]) -> tuple[Iterable[OutBatch], bool]:
        """Compare after each report."""
        records: OutBatch = []
        for report in values:
            self.reports[report.partition] = report
            if len(self.reports) == self.variants.n_partitions:
                latest_reports = [self.reports[partition] for partition in sorted(self.reports)]
                records.append(encode_comparison(latest_reports, self.clock()))
        return ([records] if records else []), StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        """Return no bytes."""
        return b""


def comparison_operator(variants: Variants, clock: Callable[[], int]) -> Callable[[bytes | None], ComparisonOperator]:
    """Return the builder that Bytewax calls for the only key."""
    return lambda stored: ComparisonOperator(variants, clock)
