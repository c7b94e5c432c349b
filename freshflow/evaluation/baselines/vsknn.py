"""VSKNN baseline: items of the sessions most similar to the current one, with more weight on its latest items.

With the items x_1 (the oldest) to x_L of the context, another session s has

    similarity(s) = 1 / L * sum of  n / L  over the x_n that are in s,
    score(y) = sum of  similarity(s) / step(s)  over the nearest sessions s that contain y,

where step(s) is 1 if the latest item of the context is in s, 2 if only the one before it is, and so on.

Ludewig and Jannach, "Evaluation of Session-based Recommendation Algorithms" (2018), with the linear decays of the
authors' session-rec framework. Of the sessions that share an item with the context, the most recent are compared.
"""

from collections import defaultdict, deque
from heapq import nlargest

import msgspec

from freshflow.evaluation.baselines.baseline import select_top_items
from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile

N_NEIGHBOURS = 100
SAMPLE_SIZE = 500  # latest sessions compared; 1,000 were no better
MAX_SESSIONS = 100_000


class _Session(msgspec.Struct):
    user_id: str
    last_event: int  # sequence number of its latest event
    items: dict[str, None]


class VSKNN:
    """Nearest-neighbour recommender over recent sessions.

    Args:
        n_neighbours: Most similar sessions used for the scores.
        sample_size: Latest sessions of an item, and of all candidates, that are compared.
        max_sessions: Sessions kept; the least recently updated one is evicted.
    """

    def __init__(
        self, n_neighbours: int = N_NEIGHBOURS, sample_size: int = SAMPLE_SIZE, max_sessions: int = MAX_SESSIONS
    ) -> None:
        self.n_neighbours = n_neighbours
        self.sample_size = sample_size
        self.max_sessions = max_sessions
        self.sessions: dict[int, _Session] = {}  # in the order of their latest events
        self.sessions_by_item: dict[str, deque[int]] = {}  # latest session ids by item
        self.latest_session: dict[str, int] = {}  # by user
        self.n_events = 0

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """Return the `k` items with the highest scores; items of the context may be among them."""
        step_by_item = {item: n for n, item in enumerate(context.items, start=1)}
        scores: defaultdict[str, float] = defaultdict(float)
        for session, similarity in self._nearest_sessions(user_id, context):
            items = self.sessions[session].items
            vote = similarity / min(step_by_item[item] for item in step_by_item.keys() & items.keys())
            for item in items:
                scores[item] += vote
        return select_top_items(scores.items(), k)

    def _nearest_sessions(self, user_id: str, context: Context) -> list[tuple[int, float]]:
        """Return the most similar of the latest sessions that share an item with the context; ties by latest event."""
        length = len(context.items)
        similarities: defaultdict[int, float] = defaultdict(float)
        for n, item in enumerate(context.items):
            weight = (length - n) / length**2
            for session in self.sessions_by_item.get(item, ()):
                similarities[session] += weight
        if context.session_length:
            similarities.pop(self.latest_session.get(user_id, -1), None)  # excludes the current session
        candidates = [
            (self.sessions[s].last_event, value, s) for s, value in similarities.items() if s in self.sessions
        ]
        recent_candidates = nlargest(self.sample_size, candidates)
        neighbours = nlargest(self.n_neighbours, recent_candidates, key=lambda candidate: (candidate[1], candidate[0]))
        return [(session, similarity) for _, similarity, session in neighbours]

    def learn(self, event: Interaction, context: Context) -> None:
        """Add the event's item to the user's current session, or start a new one."""
        self.n_events += 1
        session_id = self.latest_session.get(event.user_id) if context.session_length else None
        if session_id is None:
            session_id = self.latest_session[event.user_id] = self.n_events
        session = self.sessions.pop(session_id, None) or _Session(event.user_id, 0, {})
        self.sessions[session_id] = session  # to the end of the order
        session.last_event = self.n_events
        if event.item_id not in session.items:
            session.items[event.item_id] = None
            session_ids: deque[int] = deque(maxlen=self.sample_size + 1)  # one may be the current session
            self.sessions_by_item.setdefault(event.item_id, session_ids).append(session_id)
        if len(self.sessions) > self.max_sessions:
            self._drop(next(iter(self.sessions)))

    def _drop(self, session_id: int) -> None:
        session = self.sessions.pop(session_id)
        if self.latest_session.get(session.user_id) == session_id:
            del self.latest_session[session.user_id]
        for item in session.items:
            item_sessions = self.sessions_by_item[item]
            if session_id in item_sessions:
                item_sessions.remove(session_id)
            if not item_sessions:
                del self.sessions_by_item[item]
