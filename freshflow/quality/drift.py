"""Drift: notices that the lists have suddenly become worse, from whether each event's item stood on its list."""

from collections import deque

from river.drift import ADWIN

__all__ = ["DriftWatch"]

# Not one false alarm in 10 million events of noise. A fall from 0.5 to 0.25 is seen after 170 events (median) or 290
# (99 %). River's 0.002 sees it 50 events earlier, and finds twice as many falls where real streams are merely restless.
DELTA = 0.0001
CLOCK = 8  # events from check to check; with River's 32 a fall is seen some 15 events later
REACH = 4_000  # events looked back on, at most: what takes longer is a slow decline or the rhythm of the day, no drift
# The world has changed, and not only who is here, where the latest events of so many users hit less than this share of
# before. Where simulated shops shifted it was .61 to .65; who rates a hundred films in a row makes a fall alone.
LATEST, MANY, STEEP = 64, 10, 0.7


class DriftWatch:
    """Watches the outcomes of progressive validation (1 for a hit, 0 for a miss) for an abrupt fall.

    ADWIN [1] compares the older part of a window, of length n0 and mean m0, with the younger, for many places of the
    cut between them. It reports a change where

        |m0 - m1| > sqrt(2 v L / h) + 2 L / (3 h),    h = 1 / (1 / n0 + 1 / n1),    L = ln(2 ln(n) / DELTA),

    with n and v the length and the variance of the whole window. Changes for the better count as no drift. After any
    change both windows start anew.

    A long window would find slow declines and the day's rhythm significant, so there are two, half of `REACH` apart:
    the older decides; when it is full, the younger takes its place and a new one begins. The past compared with is
    thus between `REACH` / 2 and `REACH` events long, once there are as many. Memory: some 4 kB.

    Hits are watched rather than reciprocal ranks. What a change of the world costs first is items further down the
    list: where a simulated shop shifted, hits fell from 0.61 to 0.37, and that was seen after 190 events (median);
    reciprocal ranks fell from 0.30 to 0.25, and in nine of ten cases that was not seen within 4,000.

    >>> watch = DriftWatch()
    >>> [n for n in range(1, 3001) if watch.update(n % 2 if n <= 2000 else n % 4 == 0, user=n % 30)]
    [2184]
    >>> watch.events, watch.detections, watch.last_detection, watch.is_steep
    (3000, 1, 2184, True)

    [1] Bifet and Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007.
    """

    def __init__(self) -> None:
        self.events = 0
        self.detections = 0
        self.last_detection = 0  # the number of its event, from 1; 0 before the first
        self.is_steep = False  # whether the last fall was a steep one, of many users
        self._latest: deque[tuple[float, int]] = deque(maxlen=LATEST)
        self._older, self._younger = _window(), _window()
        self._length = 0  # of the older

    def update(self, outcome: float, user: int) -> bool:
        """Take the outcome (0 to 1) of the next event, of `user`; True where it shows that outcomes have fallen."""
        self.events += 1
        self._latest.append((outcome, user))
        self._length += 1
        before = self._older.estimation
        self._older.update(outcome)
        if self._older.drift_detected:
            fell = self._older.estimation < before  # the part that was otherwise has been dropped
            return self._changed(before, fell=fell)
        if self._length > REACH // 2:
            self._younger.update(outcome)
        if self._length == REACH:
            self._older, self._younger = self._younger, _window()
            self._length = REACH // 2
        return False

    def _changed(self, before: float, *, fell: bool) -> bool:
        self._older, self._younger = _window(), _window()
        self._length = 0
        if fell:
            self.detections += 1
            self.last_detection = self.events
            by_user: dict[int, list[float]] = {}
            for outcome, user in self._latest:
                by_user.setdefault(user, []).append(outcome)
            now = sum(sum(outcomes) / len(outcomes) for outcomes in by_user.values()) / len(by_user)
            self.is_steep = len(by_user) >= MANY and now < STEEP * before
        return fell


def _window() -> ADWIN:
    return ADWIN(delta=DELTA, clock=CLOCK)
