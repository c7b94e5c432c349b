"""The partitions of a job in one process: batches of steps in, answers and pushed lists out."""

from collections.abc import Iterable

import msgspec

from freshflow.config.schema import Config
from freshflow.engine.pipeline import PartitionPipeline
from freshflow.evaluation.event_stream import EvaluationBatch
from freshflow.outputs.records import Output, RecommendationList

EventPosition = tuple[int, int]  # the position of an event's record, and the number of the event in it


class _Item(msgspec.Struct, frozen=True):
    item_id: str


_decode_items = msgspec.json.Decoder(list[_Item]).decode


class PushedList(msgspec.Struct, frozen=True):
    """A list that the job published without a request, after the event at `position`."""

    position: EventPosition
    user_id: str
    items: list[str]


class BatchLists(msgspec.Struct, frozen=True):
    """The lists published after a batch: answers by the position of their request, and pushed lists in order."""

    lists_by_request: dict[EventPosition, list[str]]
    pushed_lists: list[PushedList]


class SearchScores(msgspec.Struct, frozen=True):
    """The number of items chosen from searches, and their MRR@20 in the answers and in the engine's order."""

    chosen: int
    mrr20: float
    engine_mrr20: float


class InProcessJob:
    """All partitions of a job, in one process."""

    def __init__(self, config: Config) -> None:
        self._pipeline = PartitionPipeline(config, lambda: 0)

    def process(self, batch: EvaluationBatch) -> BatchLists:
        """Learn from a batch, and return the lists that are published."""
        return _collect_lists(self._pipeline.process(batch.by_partition))

    @property
    def search_scores(self) -> SearchScores | None:
        """The scores of the searches of all partitions; None if no result was chosen."""
        reports = self._pipeline.reports()
        n_by_partition = [report.counts["search_choices"] for report in reports]
        n_chosen = sum(n_by_partition)
        if not n_chosen:
            return None
        ranker_mrr20, engine_mrr20 = (
            sum(n * report.quality.get(name, 0.0) for n, report in zip(n_by_partition, reports, strict=True)) / n_chosen
            for name in ("search_mrr20", "engine_mrr20")
        )
        return SearchScores(n_chosen, ranker_mrr20, engine_mrr20)


def _collect_lists(outputs: Iterable[Output]) -> BatchLists:
    lists_by_request: dict[EventPosition, list[str]] = {}
    pushed_lists: list[PushedList] = []
    for output in outputs:
        if not isinstance(output, RecommendationList) or output.surface != "feed":
            continue
        position = int(output.source["line"]), int(output.source.get("event", 0))
        items = [item.item_id for item in _decode_items(output.items)]
        if output.cause == "request":
            lists_by_request[position] = items
        else:
            pushed_lists.append(PushedList(position, output.user_id, items))
    return BatchLists(lists_by_request, sorted(pushed_lists, key=lambda pushed_list: pushed_list.position))
