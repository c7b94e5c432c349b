"""Lists as JSON text, written by a compiled loop: the items of a list are most of what is published."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow._numba import copy_bytes, lean
from freshflow.items.index import NO_ROW, grown
from freshflow.outputs.assembly import Listed
from freshflow.outputs.records import ListItem
from freshflow.rules.candidate_list import SHOWN_REASONS

__all__ = ["DECIMALS", "ItemTexts", "text_of"]

DECIMALS = 9  # of a score; they tell any two of them apart (`freshflow.ranking.scoring.STEP`)
UNIT = 10**DECIMALS
MOST = 1e9  # beyond it, and where it is not a number, a score is null
UNKNOWN = -1

ITEM, SCORE = (np.frombuffer(part, np.uint8) for part in (b'{"item_id":', b',"score":'))
NULL = np.frombuffer(b"null", np.uint8)
MINUS, POINT, COMMA, OPEN, CLOSE, END = (np.uint8(ord(c)) for c in "-.,[]}")
ONE, TWO, TEN, HUNDRED = (np.uint64(n) for n in (1, 2, 10, 100))
PAIRS = np.frombuffer("".join(f"{n:02}" for n in range(100)).encode(), np.uint8)
_behind = [f',"reason":{msgspec.json.encode(reason).decode()},"because":['.encode() for reason in SHOWN_REASONS]
BEHIND = np.frombuffer(b"".join(_behind), np.uint8)
BEHIND_AT = np.cumsum([0, *map(len, _behind)])
# Bytes of an item but for the ids in it, at most: the above, 10 digits before the point, and 6 signs.
FIXED = len(ITEM) + len(SCORE) + max(map(len, _behind)) + 10 + DECIMALS + 6


def text_of(items: Sequence[ListItem]) -> msgspec.Raw:
    """The items of a list as JSON, with all there is to know of them."""
    return msgspec.Raw(msgspec.json.encode(items))


class ItemTexts:
    """The JSON text of item ids by row, each made when it is first asked for; `drop` rows that mean other items."""

    def __init__(self) -> None:
        self._clear(0)

    def _clear(self, rows: int) -> None:
        self.pool = np.empty(1 << 12, np.uint8)
        self.used = self.dropped = self.longest = 0
        self.spans = np.full((rows, 2), UNKNOWN, np.int64)

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forget the texts of `rows`."""
        rows = rows[rows < len(self.spans)]
        self.dropped += int(np.diff(self.spans[rows]).sum())
        self.spans[rows] = UNKNOWN
        if 2 * self.dropped > self.used:
            self._clear(len(self.spans))

    def of(self, listed: Listed, ids: list[str]) -> list[msgspec.Raw]:
        """The items of each list as JSON; scores are rounded to `DECIMALS`."""
        if len(self.spans) < len(ids):
            self.spans = grown(self.spans, max(len(ids), 2 * len(self.spans)), UNKNOWN)
        for rows in (listed.rows, listed.sources):
            while (row := _first_unknown(rows, listed.sizes, self.spans)) != NO_ROW:
                self._add(row, msgspec.json.encode(ids[row]))
        out = np.empty(int(listed.sizes.sum()) * (FIXED + 2 * self.longest) + 2 * len(listed.sizes), np.uint8)
        ends = np.empty(len(listed.sizes), np.int64)
        _write(*listed, self.spans, self.pool, out, ends)
        text = out[: ends[-1] if len(ends) else 0].tobytes()
        return [msgspec.Raw(text[start:end]) for start, end in pairwise([0, *ends.tolist()])]

    def _add(self, row: int, text: bytes) -> None:
        start, end = self.used, self.used + len(text)
        if end > len(self.pool):
            self.pool = grown(self.pool, 2 * end)
        self.pool[start:end] = np.frombuffer(text, np.uint8)
        self.spans[row] = start, end
        self.used, self.longest = end, max(self.longest, len(text))


@lean
def _first_unknown(rows: NDArray[np.int32], sizes: NDArray[np.int32], spans: NDArray[np.int64]) -> int:
    """The first of `rows` (N, K), of which `sizes` (N,) count, that has no text yet."""
    for n in range(len(rows)):
        for at in range(sizes[n]):
            row = rows[n, at]
            if row != NO_ROW and spans[row, 0] == UNKNOWN:
                return int(row)
    return NO_ROW


@lean
def _copied(text: NDArray[np.uint8], start: int, end: int, out: NDArray[np.uint8], at: int) -> int:
    """Copy a piece of `text` to `out`; where it ends there."""
    copy_bytes(text, start, out, at, end - start)
    return at + end - start


@lean
def _digits(number: np.uint64, digits: int, out: NDArray[np.uint8], at: int) -> np.uint64:
    """Write the last so many `digits` of a number, two at a time; what is left of the number."""
    place = at + digits
    while place > at + 1:
        pair = TWO * (number % HUNDRED)
        number //= HUNDRED
        place -= 2
        out[place], out[place + 1] = PAIRS[pair], PAIRS[pair + ONE]
    if place > at:
        out[at] = PAIRS[TWO * (number % TEN) + ONE]
        number //= TEN
    return number


@lean
def _number(value: float, out: NDArray[np.uint8], at: int) -> int:
    """Write a number, rounded; where it ends."""
    if not abs(value) < MOST:
        return _copied(NULL, 0, len(NULL), out, at)
    units = np.uint64(np.rint(abs(value) * UNIT))
    if value < 0 and units:
        out[at] = MINUS
        at += 1
    whole, digits = units // np.uint64(UNIT), 1
    power = TEN
    while whole >= power:
        power *= TEN
        digits += 1
    out[at + digits] = POINT
    _digits(_digits(units, DECIMALS, out, at + digits + 1), digits, out, at)
    return at + digits + 1 + DECIMALS


@lean
def _write(
    rows: NDArray[np.int32],
    scores: NDArray[np.float64],
    reasons: NDArray[np.int32],
    sources: NDArray[np.int32],
    sizes: NDArray[np.int32],
    spans: NDArray[np.int64],
    pool: NDArray[np.uint8],
    out: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:
    """Write lists (N, K), one after the other, to `out`, and where each ends to `ends` (N,)."""
    at = 0
    for n in range(len(rows)):
        out[at] = OPEN
        at += 1
        for place in range(sizes[n]):
            if place:
                out[at] = COMMA
                at += 1
            row, reason, source = rows[n, place], reasons[n, place], sources[n, place]
            at = _copied(ITEM, 0, len(ITEM), out, at)
            at = _copied(pool, spans[row, 0], spans[row, 1], out, at)
            at = _copied(SCORE, 0, len(SCORE), out, at)
            at = _number(scores[n, place], out, at)
            at = _copied(BEHIND, BEHIND_AT[reason], BEHIND_AT[reason + 1], out, at)
            if source != NO_ROW:
                at = _copied(pool, spans[source, 0], spans[source, 1], out, at)
            out[at], out[at + 1] = CLOSE, END
            at += 2
        out[at] = CLOSE
        at += 1
        ends[n] = at
