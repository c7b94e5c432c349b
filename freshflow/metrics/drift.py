"""Drift detection: sudden falls of the hit rate of lists."""

from collections import deque
from typing import Literal

from freshflow._river import ADWIN
from freshflow._state_tables import StateTable

# No false alarm in 10 million events of noise. A fall from 0.5 to 0.25 is detected after 170 events (median) or 290
# (99 %). River's 0.002 detects it 50 events earlier, and twice as many falls in real streams without a drift.
ADWIN_DELTA = 0.0001
CHECK_EVERY_EVENTS = 8  # with River's 32 a fall is detected some 15 events later
MAX_WINDOW_EVENTS = 4_000  # slower changes are declines or the rhythm of the day, not drifts
# A fall is severe if the latest events, of at least `MIN_USERS` users, hit less than this ratio of the mean before. In
# simulated shops with a shift the ratio was .43 to .73, in false alarms .63 and more. A single user who rates a hundred
# films in a row can cause a fall.
SEVERITY_WINDOW_EVENTS, MIN_USERS, SEVERE_RATIO = 128, 10, 0.62

DriftKind = Literal["fall", "steep fall"]


class DriftState(StateTable, frozen=True):
    """State of a drift detector.

    River's ADWIN has no state that can be written but a pickle, so the outcomes that its window was made from are kept
    instead, a byte each: `outcomes` since the older window began. Taken again in order they make the same windows.
    """

    events: int
    detections: int
    last_detection: int
    mean_before: float
    severity_check_event: int
    latest_outcomes: list[tuple[bool, int]]
    outcomes: bytes


class DriftDetector:
    """Detector of abrupt falls of the hit rate, from the outcomes of prequential evaluation (1 a hit, 0 a miss).

    ADWIN [1] compares the older part of a window, of length n0 and mean m0, with the younger part, for many cuts
    between them. It reports a change where

        |m0 - m1| > sqrt(2 v L / h) + 2 L / (3 h),    h = 1 / (1 / n0 + 1 / n1),    L = ln(2 ln(n) / ADWIN_DELTA),

    with n and v the length and the variance of the whole window. Changes for the better are no drift. After any change
    both windows start anew.

    In a long window slow declines and the rhythm of the day would be significant. So there are two windows, half of
    `MAX_WINDOW_EVENTS` apart: the older one decides; when it is full, the younger one replaces it and a new one begins.
    The window thus has between `MAX_WINDOW_EVENTS` / 2 and `MAX_WINDOW_EVENTS` events, once there are as many.
    Memory: some 8 kB.

    The detector watches hits, not reciprocal ranks, because a shift first costs items further down the list: when a
    simulated shop shifted, hits fell from 0.61 to 0.37, which was detected after 190 events (median); reciprocal ranks
    fell from 0.30 to 0.25, which in nine of ten cases was not detected within 4,000.

    The severity of a fall is checked `SEVERITY_WINDOW_EVENTS` events later: the events that revealed it may be of a few
    users with a run of misses, or in part from before.

    >>> watch = DriftDetector()
    >>> falls = ((n, watch.update(n % 2 if n <= 2000 else n % 4 == 0, user=n % 30)) for n in range(1, 3001))
    >>> [(n, fall) for n, fall in falls if fall]
    [(2184, 'fall'), (2312, 'steep fall')]
    >>> watch.events, watch.detections, watch.last_detection
    (3000, 1, 2184)

    [1] Bifet and Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007.
    """

    def __init__(self) -> None:
        self.events = 0
        self.detections = 0
        self.last_detection = 0  # the number of its event, from 1; 0 before the first
        self._mean_before = 0.0  # the mean of outcomes before the last fall
        self._severity_check_event = 0  # the number of the event at which its severity is checked
        self._latest_outcomes: deque[tuple[bool, int]] = deque(maxlen=SEVERITY_WINDOW_EVENTS)
        self._older, self._younger = _new_window(), _new_window()
        self._outcomes = bytearray()  # of the older

    def update(self, is_hit: bool, user: int) -> DriftKind | None:
        """Add the outcome of the next event, of `user`, and return the fall that it reveals, if any.

        A fall that turns out to be steep is returned once more, and counted once.
        """
        self.events += 1
        self._latest_outcomes.append((is_hit, user))
        total, events = self._older.total + is_hit, self._older.width + 1
        self._add_outcome(is_hit)
        if self._older.drift_detected:  # ADWIN has dropped the older part
            mean_before = (total - self._older.total) / (events - self._older.width)
            return self._on_change(mean_before, is_drop=self._older.estimation < mean_before)
        if self.events == self._severity_check_event and self._is_severe():
            return "steep fall"
        if len(self._outcomes) == MAX_WINDOW_EVENTS:
            self._older, self._younger = self._younger, _new_window()
            del self._outcomes[: MAX_WINDOW_EVENTS // 2]
        return None

    def state(self) -> DriftState:
        """Return the state."""
        return DriftState(
            events=self.events,
            detections=self.detections,
            last_detection=self.last_detection,
            mean_before=self._mean_before,
            severity_check_event=self._severity_check_event,
            latest_outcomes=list(self._latest_outcomes),
            outcomes=bytes(self._outcomes),
        )

    def restore(self, state: DriftState) -> None:
        """Continue from a state."""
        self.events, self.detections, self.last_detection = state.events, state.detections, state.last_detection
        self._mean_before, self._severity_check_event = state.mean_before, state.severity_check_event
        self._latest_outcomes = deque(state.latest_outcomes, maxlen=SEVERITY_WINDOW_EVENTS)
        self._older, self._younger, self._outcomes = _new_window(), _new_window(), bytearray()
        for outcome in state.outcomes[:MAX_WINDOW_EVENTS]:
            self._add_outcome(bool(outcome))

    def _add_outcome(self, is_hit: bool) -> None:
        self._outcomes.append(is_hit)
        self._older.update(float(is_hit))
        if len(self._outcomes) > MAX_WINDOW_EVENTS // 2:
            self._younger.update(float(is_hit))

    def forget(self, user: int) -> None:
        """Drop the latest outcomes of a forgotten user."""
        self._latest_outcomes = deque(
            ((outcome, outcome_user) for outcome, outcome_user in self._latest_outcomes if outcome_user != user),
            maxlen=SEVERITY_WINDOW_EVENTS,
        )

    def _on_change(self, mean_before: float, *, is_drop: bool) -> DriftKind | None:
        self._older, self._younger = _new_window(), _new_window()
        self._outcomes.clear()
        self._severity_check_event = 0
        if not is_drop:
            return None
        self.detections += 1
        self.last_detection, self._mean_before = self.events, mean_before
        self._severity_check_event = self.events + SEVERITY_WINDOW_EVENTS
        return "fall"

    def _is_severe(self) -> bool:
        """Return whether the latest events are of many users, and hit far less than before."""
        by_user: dict[int, list[bool]] = {}
        for outcome, user in self._latest_outcomes:
            by_user.setdefault(user, []).append(outcome)
        current_mean = sum(sum(outcomes) / len(outcomes) for outcomes in by_user.values()) / len(by_user)
        return len(by_user) >= MIN_USERS and current_mean < SEVERE_RATIO * self._mean_before


def _new_window() -> ADWIN:
    return ADWIN(delta=ADWIN_DELTA, clock=CHECK_EVERY_EVENTS)
