"""Progressive validation over a file: each event is predicted from earlier events, then learned.

The job is evaluated by its own code: the parser, the user buckets and the partitions of the graph, called in the
graph's order (`stream.py`, `job.py`), with a request before each event as a consumer would make it. Baselines are asked
at the same moments, with the same context, and know what the job's lists know: every event up to the one they predict.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

import msgspec

from freshflow.config.schema import UsersConfig
from freshflow.evaluation.baselines.baseline import Baseline
from freshflow.evaluation.event_stream import EvaluationStream, StepsRead
from freshflow.evaluation.recommender import Job, Place, Searches
from freshflow.evaluation.scores import History, Scores
from freshflow.events.model import Behaviour, Forget, ItemUpdate
from freshflow.items.visit import Visit
from freshflow.metrics.prequential import CUTOFF
from freshflow.users.profile import Context, context_at
from freshflow.users.updates import Ask, Interaction, Joined, Lesson, Noise, Step

__all__ = ["Evaluated", "evaluate_baselines", "evaluate_job"]

Clock = Callable[[], float]  # seconds, from any moment on
Progress = Callable[[int], object]  # is told how many events have been read


class Evaluated(msgspec.Struct):
    """The scores of one recommender, the seconds it took, the users and items that were met; the job's searches."""

    scores: Scores = msgspec.field(default_factory=Scores)
    seconds: float = 0.0
    history: History = msgspec.field(default_factory=History)
    searches: Searches | None = None


def evaluate_job(stream: EvaluationStream, clock: Clock, progress: Progress = lambda _: None) -> Evaluated:
    """Evaluate the job's answers and what it pushed before each event; `seconds` hold reading and answering."""
    job, result = Job(stream.config), Evaluated()
    scores, history = result.scores, result.history
    pushed: dict[str, list[str]] = {}
    begun = clock()
    for read in stream:
        lists = job.take(read)
        result.seconds += clock() - begun
        coming = deque(lists.pushed)
        for step, asked in _in_order(read):
            while coming and coming[0].place < (step.position, step.nth):
                one = coming.popleft()
                pushed[one.user_id] = one.items
            if isinstance(step, ItemUpdate):
                history.hear(step.item_id, step.ts_ms)
                continue
            if isinstance(step, Forget):
                history.forget(step.user_id)
                pushed.pop(step.user_id, None)
                continue
            if isinstance(step, Joined):
                history.join(step.event.guest, step.event.user_id)
                pushed.pop(step.event.guest, None)
                continue
            event = step if isinstance(step, Behaviour) else step.event
            if asked is not None:
                scores.add(
                    history.moment(event), lists.answers[event.position, event.nth], pushed.get(event.user_id, ())
                )
            history.add(event)
        pushed.update((one.user_id, one.items) for one in coming)
        progress(stream.events)
        begun = clock()
    result.searches = job.searches
    return result


def evaluate_baselines(
    stream: EvaluationStream, baselines: Mapping[str, Baseline], clock: Clock, progress: Progress = lambda _: None
) -> dict[str, Evaluated]:
    """Evaluate baselines side by side; `seconds` hold what each took to recommend and to learn.

    They are asked for as many items as it takes to fill a list after those the user has seen are taken out.
    """
    history = History()
    results = {name: Evaluated(history=history) for name in baselines}
    for read in stream:
        for step, asked in _in_order(read):
            if isinstance(step, ItemUpdate):
                history.hear(step.item_id, step.ts_ms)
                continue
            if isinstance(step, Forget):
                history.forget(step.user_id)
                continue
            if isinstance(step, Joined):
                history.join(step.event.guest, step.event.user_id)
                continue
            event = step if isinstance(step, Behaviour) else step.event
            moment = history.moment(event)
            for name, baseline in baselines.items():
                result, begun = results[name], clock()
                if asked is not None:
                    k = CUTOFF + len(moment.seen)
                    items = baseline.recommend(event.user_id, asked.user, _context(asked, stream.config.users), k)
                    result.seconds += clock() - begun
                    result.scores.add(moment, items)
                    begun = clock()
                if isinstance(step, Interaction):
                    baseline.learn(event, step.context)
                    result.seconds += clock() - begun
            history.add(event)
        progress(stream.events)
    return results


def _in_order(
    read: StepsRead,
) -> Iterator[tuple[Interaction | Noise | Behaviour | Forget | Joined | ItemUpdate, Ask | None]]:
    """Interactions of all partitions by place, each with the question put before it; who is forgotten, or identified;
    and items.

    What nothing is learned from (duplicates, late events, noise) was asked about as any other. Where no step has come
    of it, it is the bare event.
    """
    steps: list[Step | Behaviour] = [step for part in read.by_partition for step in part]
    question: Ask | None = None
    for step in sorted([*steps, *read.left_out], key=_place):
        if isinstance(step, Ask):
            question = step
        elif isinstance(step, Interaction | Noise | Behaviour):
            yield step, question if question is not None and _place(question) == _place(step) else None
        elif isinstance(step, Forget | Joined | ItemUpdate):
            yield step, None


def _place(step: Step | Behaviour) -> Place:
    return step.position, 0 if isinstance(step, Visit | Lesson) else step.nth


def _context(asked: Ask, users: UsersConfig) -> Context:
    return context_at(asked.user, asked.event.ts_ms, gap_ms=int(users.session_gap_s * 1000), limit=users.context)
