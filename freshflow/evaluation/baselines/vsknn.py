"""VSKNN: the items of those sessions that are most like the running one, whose latest items count most.

With the items x_1 (the oldest) to x_L of the context, another session s has

    similarity(s) = 1 / L * sum of  n / L  over the x_n that are in s,
    score(y) = sum of  similarity(s) / step(s)  over the nearest sessions s that y is in,

where step(s) is 1 if the latest item of the context is in s, 2 if only the one before it is, and so on.

Ludewig and Jannach, "Evaluation of Session-based Recommendation Algorithms" (2018), with the linear decays of the
authors' session-rec framework. Of the sessions that share an item with the context, the most recent are compared.
"""

from collections import defaultdict, deque
from heapq import nlargest

import msgspec

from freshflow.evaluation.baselines.baseline import best
from freshflow.events.model import Behaviour
from freshflow.users.profile import Context, UserState

__all__ = ["VSKNN"]

NEIGHBOURS = 100
SAMPLE = 500  # sessions that are compared; a thousand were no better
SESSIONS = 100_000


class _Session(msgspec.Struct):
    user_id: str
    touched: int  # the number of its latest event
    items: dict[str, None]


class VSKNN:
    """Knows `bound` sessions, the least recently touched go first, and for each item the last `sample` it came in."""

    def __init__(self, neighbours: int = NEIGHBOURS, sample: int = SAMPLE, bound: int = SESSIONS) -> None:
        self.neighbours = neighbours
        self.sample = sample
        self.bound = bound
        self.sessions: dict[int, _Session] = {}  # in the order of their latest events
        self.sessions_with: dict[str, deque[int]] = {}  # by item
        self.latest: dict[str, int] = {}  # the latest session by user
        self.events = 0

    def recommend(self, user_id: str, user: UserState, context: Context, k: int) -> list[str]:
        """The `k` items that the nearest sessions speak most for; those of the context may be among them."""
        step_of = {item: n for n, item in enumerate(context.items, start=1)}
        scores: defaultdict[str, float] = defaultdict(float)
        for session, similarity in self._nearest(user_id, context):
            items = self.sessions[session].items
            vote = similarity / min(step_of[item] for item in step_of.keys() & items.keys())
            for item in items:
                scores[item] += vote
        return best(scores.items(), k)

    def _nearest(self, user_id: str, context: Context) -> list[tuple[int, float]]:
        """The most similar ones of the latest sessions that share an item with the context, of equals the latest."""
        length = len(context.items)
        similarities: defaultdict[int, float] = defaultdict(float)
        for n, item in enumerate(context.items):
            weight = (length - n) / length**2
            for session in self.sessions_with.get(item, ()):
                similarities[session] += weight
        if context.session_length:
            similarities.pop(self.latest.get(user_id, -1), None)  # it is the running one
        found = [(self.sessions[s].touched, value, s) for s, value in similarities.items() if s in self.sessions]
        sampled = nlargest(self.sample, found)
        nearest = nlargest(self.neighbours, sampled, key=lambda one: (one[1], one[0]))
        return [(session, similarity) for _, similarity, session in nearest]

    def learn(self, event: Behaviour, context: Context) -> None:
        """Add the event's item to the user's running session, or begin one with it."""
        self.events += 1
        number = self.latest.get(event.user_id) if context.session_length else None
        if number is None:
            number = self.latest[event.user_id] = self.events
        session = self.sessions.pop(number, None) or _Session(event.user_id, 0, {})
        self.sessions[number] = session  # to the end of the order
        session.touched = self.events
        if event.item_id not in session.items:
            session.items[event.item_id] = None
            latest: deque[int] = deque(maxlen=self.sample + 1)  # one of them may be the running one
            self.sessions_with.setdefault(event.item_id, latest).append(number)
        if len(self.sessions) > self.bound:
            self._drop(next(iter(self.sessions)))

    def _drop(self, number: int) -> None:
        session = self.sessions.pop(number)
        if self.latest.get(session.user_id) == number:
            del self.latest[session.user_id]
        for item in session.items:
            known = self.sessions_with[item]
            if number in known:
                known.remove(number)
            if not known:
                del self.sessions_with[item]
