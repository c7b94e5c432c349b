"""Comparing variants as the job goes: the latest reports of all partitions behind Bytewax's stateful step."""

from collections.abc import Callable, Iterable

from bytewax.operators import StatefulBatchLogic

from freshflow.io.record import OutBatch
from freshflow.metrics.report import Report, encode_comparison
from freshflow.streaming.experiment import Variants

__all__ = ["ComparisonStage", "comparison_stage"]


class ComparisonStage(StatefulBatchLogic[Report, OutBatch, bytes]):  # type: ignore[misc]
    """Reports in, comparisons out, once every partition has reported.

    The state is what the last reports said, which say it again: there is nothing to keep.
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
        """Nothing."""
        return b""


def comparison_stage(variants: Variants, clock: Callable[[], int]) -> Callable[[bytes | None], ComparisonStage]:
    """The builder Bytewax calls for the only key."""
    return lambda stored: ComparisonStage(variants, clock)
