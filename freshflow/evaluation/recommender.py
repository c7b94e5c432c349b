"""The job's partitions without Bytewax: the steps of a batch in, the answers and the pushed lists out.

This is the code of the graph's partition stage and the order of its calls: signals are heard before the own steps are
taken. With one partition there are none, and `Partition.take` is all there is.
"""

from collections.abc import Iterable

import msgspec

from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.evaluation.event_stream import EvaluationBatch
from freshflow.outputs.records import Output, RecommendationList
from freshflow.users.updates import UserInteraction

__all__ = ["InProcessJob", "BatchLists", "EventPosition", "PushedList", "SearchScores"]

EventPosition = tuple[int, int]  # of an event: its record's position, and which of the record's events it is


class _Item(msgspec.Struct, frozen=True):
    item_id: str


_decode_items = msgspec.json.Decoder(list[_Item]).decode


class PushedList(msgspec.Struct, frozen=True):
    """A list published on the job's own account, for the event at `position`."""

    position: EventPosition
    user_id: str
    items: list[str]


class BatchLists(msgspec.Struct, frozen=True):
    """What a batch made the job say: answers by the place of their request, and pushed lists in order of place."""

    lists_by_request: dict[EventPosition, list[str]]
    pushed_lists: list[PushedList]


class SearchScores(msgspec.Struct, frozen=True):
    """How many items were chosen from searches, and how high they stood in our answers and in the engine's order."""

    chosen: int
    mrr20: float
    engine_mrr20: float


class InProcessJob:
    """All partitions of a job, in one process."""

    def __init__(self, config: Config) -> None:
        self.partitions = [Partition(number, config, lambda: 0) for number in range(config.job.partitions)]

    def process(self, batch: EvaluationBatch) -> BatchLists:
        """What is asked and published in a batch of steps; learns from it."""
        if len(self.partitions) > 1:
            self._broadcast_remote_events(batch)
        outputs: list[Output] = []
        for partition, steps in zip(self.partitions, batch.steps_by_partition, strict=True):
            outputs += partition.process(batch.origin, steps, batch.end_position)
            partition.flush_if_full(batch.origin)
        return _collect_lists(outputs)

    @property
    def search_scores(self) -> SearchScores | None:
        """The searches of all partitions, if anything was chosen from one."""
        reports = [partition.report() for partition in self.partitions]
        n_by_partition = [report.counts["search_choices"] for report in reports]
        n_chosen = sum(n_by_partition)
        if not n_chosen:
            return None
        ranker_mrr20, engine_mrr20 = (
            sum(n * report.quality.get(name, 0.0) for n, report in zip(n_by_partition, reports, strict=True)) / n_chosen
            for name in ("search_mrr20", "engine_mrr20")
        )
        return SearchScores(n_chosen, ranker_mrr20, engine_mrr20)

    def _broadcast_remote_events(self, batch: EvaluationBatch) -> None:
        for sender_index, steps in enumerate(batch.steps_by_partition):
            remote_events = [step.remote_event for step in steps if isinstance(step, UserInteraction)]
            for receiver_index, partition in enumerate(self.partitions):
                if receiver_index != sender_index:
                    partition.buffer_remote_events(batch.origin, remote_events)


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
