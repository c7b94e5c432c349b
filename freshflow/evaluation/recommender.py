"""The job's partitions without Bytewax: the steps of a batch in, the answers and the pushed lists out.

This is the code of the graph's partition stage and the order of its calls: signals are heard before the own steps are
taken. With one partition there are none, and `Partition.take` is all there is.
"""

from collections.abc import Iterable

import msgspec

from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.evaluation.event_stream import StepsRead
from freshflow.outputs.records import Output, RecommendationList
from freshflow.users.updates import Interaction

__all__ = ["Job", "Lists", "Place", "Pushed", "Searches"]

Place = tuple[int, int]  # of an event: its record's position, and which of the record's events it is


class _Item(msgspec.Struct, frozen=True):
    item_id: str


_items = msgspec.json.Decoder(list[_Item]).decode


class Pushed(msgspec.Struct, frozen=True):
    """A list published on the job's own account, for the event at `place`."""

    place: Place
    user_id: str
    items: list[str]


class Lists(msgspec.Struct, frozen=True):
    """What a batch made the job say: answers by the place of their request, and pushed lists in order of place."""

    answers: dict[Place, list[str]]
    pushed: list[Pushed]


class Searches(msgspec.Struct, frozen=True):
    """How many items were chosen from searches, and how high they stood in our answers and in the engine's order."""

    chosen: int
    mrr20: float
    engine_mrr20: float


class Job:
    """All partitions of a job, in one process."""

    def __init__(self, config: Config) -> None:
        self.partitions = [Partition(number, config, lambda: 0) for number in range(config.job.partitions)]

    def take(self, read: StepsRead) -> Lists:
        """What is asked and published in a batch of steps; learns from it."""
        if len(self.partitions) > 1:
            self._spread_signals(read)
        outputs: list[Output] = []
        for partition, steps in zip(self.partitions, read.by_partition, strict=True):
            outputs += partition.take(read.origin, steps, read.upto)
            partition.relieve(read.origin)
        return _sorted_out(outputs)

    @property
    def searches(self) -> Searches | None:
        """The searches of all partitions, if anything was chosen from one."""
        several = [partition.searches for partition in self.partitions]
        chosen = sum(one.ours.events for one in several)
        if not chosen:
            return None
        ours, engine = (
            sum(of.events * of.figures()["mrr20"] for of in figures) / chosen
            for figures in ([one.ours for one in several], [one.engine for one in several])
        )
        return Searches(chosen, ours, engine)

    def _spread_signals(self, read: StepsRead) -> None:
        for number, steps in enumerate(read.by_partition):
            signals = [step.signal for step in steps if isinstance(step, Interaction)]
            for other, partition in enumerate(self.partitions):
                if other != number:
                    partition.hear(read.origin, signals)


def _sorted_out(outputs: Iterable[Output]) -> Lists:
    answers: dict[Place, list[str]] = {}
    pushed: list[Pushed] = []
    for output in outputs:
        if not isinstance(output, RecommendationList) or output.surface != "feed":
            continue
        place = int(output.source["line"]), int(output.source.get("event", 0))
        items = [item.item_id for item in _items(output.items)]
        if output.cause == "request":
            answers[place] = items
        else:
            pushed.append(Pushed(place, output.user_id, items))
    return Lists(answers, sorted(pushed, key=lambda one: one.place))
