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
from freshflow.evaluation.event_stream import EvaluationBatch, EvaluationStream
from freshflow.evaluation.recommender import EventPosition, InProcessJob, SearchScores
from freshflow.evaluation.scores import Scores, StreamHistory
from freshflow.events.model import Forget, Interaction, ItemUpdate
from freshflow.items.visit import ItemVisit
from freshflow.metrics.prequential import CUTOFF
from freshflow.users.profile import Context, context_at
from freshflow.users.updates import BotEvent, ListRequested, ProfileMerged, RemoteExample, Step, UserInteraction

__all__ = ["EvaluationResult", "evaluate_baselines", "evaluate_job"]

Clock = Callable[[], float]  # seconds, from any moment on
ProgressCallback = Callable[[int], object]  # is told how many events have been read


class EvaluationResult(msgspec.Struct):
    """The scores of one recommender, the seconds it took, the users and items that were met; the job's searches."""

    scores: Scores = msgspec.field(default_factory=Scores)
    duration_s: float = 0.0
    history: StreamHistory = msgspec.field(default_factory=StreamHistory)
    search_scores: SearchScores | None = None


def evaluate_job(
    stream: EvaluationStream, clock: Clock, on_progress: ProgressCallback = lambda _: None
) -> EvaluationResult:
    """Evaluate the job's answers and what it pushed before each event; `seconds` hold reading and answering."""
    job, result = InProcessJob(stream.config), EvaluationResult()
    scores, history = result.scores, result.history
    pushed_by_user: dict[str, list[str]] = {}
    start_s = clock()
    for batch in stream:
        lists = job.process(batch)
        result.duration_s += clock() - start_s
        pending_lists = deque(lists.pushed_lists)
        for step, request in _steps_with_requests(batch):
            while pending_lists and pending_lists[0].position < (step.position, step.nth):
                pushed_list = pending_lists.popleft()
                pushed_by_user[pushed_list.user_id] = pushed_list.items
            if isinstance(step, ItemUpdate):
                history.add_item(step.item_id, step.ts_ms)
                continue
            if isinstance(step, Forget):
                history.forget_user(step.user_id)
                pushed_by_user.pop(step.user_id, None)
                continue
            if isinstance(step, ProfileMerged):
                history.merge_anonymous(step.event.anonymous_id, step.event.user_id)
                pushed_by_user.pop(step.event.anonymous_id, None)
                continue
            event = step if isinstance(step, Interaction) else step.event
            if request is not None:
                scores.add(
                    history.prediction_target(event),
                    lists.lists_by_request[event.position, event.nth],
                    pushed_by_user.get(event.user_id, ()),
                )
            history.add_interaction(event)
        pushed_by_user.update((pushed_list.user_id, pushed_list.items) for pushed_list in pending_lists)
        on_progress(stream.n_events)
        start_s = clock()
    result.search_scores = job.search_scores
    return result


def evaluate_baselines(
    stream: EvaluationStream,
    baselines: Mapping[str, Baseline],
    clock: Clock,
    on_progress: ProgressCallback = lambda _: None,
) -> dict[str, EvaluationResult]:
    """Evaluate baselines side by side; `seconds` hold what each took to recommend and to learn.

    They are asked for as many items as it takes to fill a list after those the user has seen are taken out.
    """
    history = StreamHistory()
    results = {name: EvaluationResult(history=history) for name in baselines}
    for batch in stream:
        for step, request in _steps_with_requests(batch):
            if isinstance(step, ItemUpdate):
                history.add_item(step.item_id, step.ts_ms)
                continue
            if isinstance(step, Forget):
                history.forget_user(step.user_id)
                continue
            if isinstance(step, ProfileMerged):
                history.merge_anonymous(step.event.anonymous_id, step.event.user_id)
                continue
            event = step if isinstance(step, Interaction) else step.event
            target = history.prediction_target(event)
            for name, baseline in baselines.items():
                result, start_s = results[name], clock()
                if request is not None:
                    k = CUTOFF + len(target.seen_items)
                    items = baseline.recommend(
                        event.user_id, request.profile, _context(request, stream.config.users), k
                    )
                    result.duration_s += clock() - start_s
                    result.scores.add(target, items)
                    start_s = clock()
                if isinstance(step, UserInteraction):
                    baseline.learn(event, step.context)
                    result.duration_s += clock() - start_s
            history.add_interaction(event)
        on_progress(stream.n_events)
    return results


def _steps_with_requests(
    batch: EvaluationBatch,
) -> Iterator[
    tuple[UserInteraction | BotEvent | Interaction | Forget | ProfileMerged | ItemUpdate, ListRequested | None]
]:
    """Interactions of all partitions by place, each with the question put before it; who is forgotten, or identified;
    and items.

    What nothing is learned from (duplicates, late events, noise) was asked about as any other. Where no step has come
    of it, it is the bare event.
    """
    steps: list[Step | Interaction] = [*batch.steps, *batch.excluded_events]
    request: ListRequested | None = None
    for step in sorted(steps, key=_event_position):
        if isinstance(step, ListRequested):
            request = step
        elif isinstance(step, UserInteraction | BotEvent | Interaction):
            yield step, request if request is not None and _event_position(request) == _event_position(step) else None
        elif isinstance(step, Forget | ProfileMerged | ItemUpdate):
            yield step, None


def _event_position(step: Step | Interaction) -> EventPosition:
    return step.position, 0 if isinstance(step, ItemVisit | RemoteExample) else step.nth


def _context(request: ListRequested, users: UsersConfig) -> Context:
    return context_at(
        request.profile, request.event.ts_ms, gap_ms=int(users.session_gap_s * 1000), max_items=users.context
    )
