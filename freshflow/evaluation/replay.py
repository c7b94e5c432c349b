"""Progressive validation over a file: each event is predicted from earlier events, then learned.

The job is evaluated by its own code, the parser and the pipeline (`freshflow.engine.pipeline`), with a request before
each event as a consumer would make it. Baselines are asked at the same moments, with the same context, and know the
same events: those up to the one they predict.
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
from freshflow.metrics.ranking_metrics import CUTOFF
from freshflow.users.profile import Context, context_at
from freshflow.users.updates import BotEvent, ListRequested, ProfileMerged, RemoteExample, Step, UserInteraction

Clock = Callable[[], float]  # seconds since an arbitrary start
ProgressCallback = Callable[[int], object]  # called with the number of events read


class EvaluationResult(msgspec.Struct):
    """The scores of one recommender, its time, the history of users and items, and the scores of the job's searches."""

    scores: Scores = msgspec.field(default_factory=Scores)
    duration_s: float = 0.0
    history: StreamHistory = msgspec.field(default_factory=StreamHistory)
    search_scores: SearchScores | None = None


def evaluate_job(
    stream: EvaluationStream, clock: Clock, on_progress: ProgressCallback = lambda _: None
) -> EvaluationResult:
    """Evaluate the job's answers, and the lists it had published before each event.

    Args:
        stream: The events with requests.
        clock: Any clock in seconds; the duration covers reading and answering.
        on_progress: Called after each batch.
    """
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
    """Evaluate baselines side by side.

    Each is asked for as many items as fill a list without those that the user has seen.

    Args:
        stream: The events with requests.
        baselines: The baselines by name.
        clock: Any clock in seconds; the duration of each covers recommending and learning.
        on_progress: Called after each batch.
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
    """Yield the steps of all partitions by position, interactions with the request before them.

    Interactions that are not learned (duplicates, late and bot events) have a request, too; those without a step are
    yielded themselves.
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
