"""JSON encoding of lists by a compiled loop, because list items are most of the published bytes."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow._numba import copy_bytes, jit_no_refcount
from freshflow.items.index import NO_ROW, extend_rows
from freshflow.outputs.assembly import ListArrays
from freshflow.outputs.reasons import PUBLISHED_REASONS
from freshflow.outputs.records import ListItem

SCORE_DECIMALS = 9  # enough to distinguish any two scores (`freshflow.ranking.scoring.SCORE_QUANTUM`)
SCORE_SCALE = 10**SCORE_DECIMALS
MAX_SCORE = 1e9  # scores from here on, and NaN, are written as null
NO_SPAN = -1

ITEM_PREFIX, SCORE_PREFIX = (np.frombuffer(part, np.uint8) for part in (b'{"item_id":', b',"score":'))
NULL = np.frombuffer(b"null", np.uint8)
MINUS, POINT, COMMA, OPEN_BRACKET, CLOSE_BRACKET, CLOSE_BRACE = (np.uint8(ord(c)) for c in "-.,[]}")
UINT_1, UINT_2, UINT_10, UINT_100 = (np.uint64(n) for n in (1, 2, 10, 100))
DIGIT_PAIRS = np.frombuffer("".join(f"{n:02}" for n in range(100)).encode(), np.uint8)
# Bytes of an item at most, without its ids and reason: the above, 10 digits before the point, and 6 signs.
MAX_FIXED_BYTES = len(ITEM_PREFIX) + len(SCORE_PREFIX) + 10 + SCORE_DECIMALS + 6


def encode_items(items: Sequence[ListItem]) -> msgspec.Raw:
    """Encode the items of a list with all fields."""
    return msgspec.Raw(msgspec.json.encode(items))


class JsonListWriter:
    """An encoder of lists with a cache of encoded item ids by row.

    Ids are encoded on first use; `drop_items` invalidates rows that are reused for other items.
    """

    def __init__(self) -> None:
        # Rules may have registered reasons since this module was imported.
        reason_texts = [
            f',"reason":{msgspec.json.encode(reason).decode()},"because":['.encode() for reason in PUBLISHED_REASONS
        ]
        self._reason_bytes = np.frombuffer(b"".join(reason_texts), np.uint8)
        self._reason_offsets = np.cumsum([0, *map(len, reason_texts)])
        self._max_item_bytes = MAX_FIXED_BYTES + max(map(len, reason_texts))
        self._clear(0)

    def _clear(self, n_rows: int) -> None:
        self.pool = np.empty(1 << 12, np.uint8)
        self.n_used_bytes = self.n_dropped_bytes = self.max_id_bytes = 0
        self.spans = np.full((n_rows, 2), NO_SPAN, np.int64)

    def drop_items(self, rows: NDArray[np.int64]) -> None:
        """Drop the cached ids of `rows` (N,)."""
        rows = rows[rows < len(self.spans)]
        self.n_dropped_bytes += int(np.diff(self.spans[rows]).sum())
        self.spans[rows] = NO_SPAN
        if 2 * self.n_dropped_bytes > self.n_used_bytes:
            self._clear(len(self.spans))

    def encode_lists(self, lists: ListArrays, ids: list[str]) -> list[msgspec.Raw]:
        """Encode the items of each list as JSON.

        Args:
            lists: The lists. Scores are rounded to `SCORE_DECIMALS`.
            ids: Item ids by row.
        """
        if len(self.spans) < len(ids):
            self.spans = extend_rows(self.spans, max(len(ids), 2 * len(self.spans)), NO_SPAN)
        for rows in (lists.rows, lists.sources):
            while (row := _first_missing_row(rows, lists.sizes, self.spans)) != NO_ROW:
                self._add_id(row, msgspec.json.encode(ids[row]))
        out = np.empty(
            int(lists.sizes.sum()) * (self._max_item_bytes + 2 * self.max_id_bytes) + 2 * len(lists.sizes), np.uint8
        )
        ends = np.empty(len(lists.sizes), np.int64)
        _write_lists(*lists, self._reason_bytes, self._reason_offsets, self.spans, self.pool, out, ends)
        text = out[: ends[-1] if len(ends) else 0].tobytes()
        return [msgspec.Raw(text[start:end]) for start, end in pairwise([0, *ends.tolist()])]

    def _add_id(self, row: int, text: bytes) -> None:
        start, end = self.n_used_bytes, self.n_used_bytes + len(text)
        if end > len(self.pool):
            self.pool = extend_rows(self.pool, 2 * end)
        self.pool[start:end] = np.frombuffer(text, np.uint8)
        self.spans[row] = start, end
        self.n_used_bytes, self.max_id_bytes = end, max(self.max_id_bytes, len(text))


@jit_no_refcount
def _first_missing_row(rows: NDArray[np.int32], sizes: NDArray[np.int32], spans: NDArray[np.int64]) -> int:
    """Return the first of `rows` (N, K) without a cached id, or `NO_ROW`; `sizes` (N,) are the lengths of the lists."""
    for n in range(len(rows)):
        for position in range(sizes[n]):
            row = rows[n, position]
            if row != NO_ROW and spans[row, 0] == NO_SPAN:
                return int(row)
    return NO_ROW


@jit_no_refcount
def _append_span(text: NDArray[np.uint8], start: int, end: int, out: NDArray[np.uint8], offset: int) -> int:
    """Copy the bytes from `start` to `end` of `text` to `out` at `offset`; return the new offset."""
    copy_bytes(text, start, out, offset, end - start)
    return offset + end - start


@jit_no_refcount
def _write_digits(number: np.uint64, n_digits: int, out: NDArray[np.uint8], offset: int) -> np.uint64:
    """Write the last `n_digits` digits of a number, two at a time; return the remaining number."""
    position = offset + n_digits
    while position > offset + 1:
        pair = UINT_2 * (number % UINT_100)
        number //= UINT_100
        position -= 2
        out[position], out[position + 1] = DIGIT_PAIRS[pair], DIGIT_PAIRS[pair + UINT_1]
    if position > offset:
        out[offset] = DIGIT_PAIRS[UINT_2 * (number % UINT_10) + UINT_1]
        number //= UINT_10
    return number


@jit_no_refcount
def _write_number(value: float, out: NDArray[np.uint8], offset: int) -> int:
    """Write a rounded number; return the new offset."""
    if not abs(value) < MAX_SCORE:
        return _append_span(NULL, 0, len(NULL), out, offset)
    units = np.uint64(np.rint(abs(value) * SCORE_SCALE))
    if value < 0 and units:
        out[offset] = MINUS
        offset += 1
    integer, n_digits = units // np.uint64(SCORE_SCALE), 1
    power = UINT_10
    while integer >= power:
        power *= UINT_10
        n_digits += 1
    out[offset + n_digits] = POINT
    _write_digits(_write_digits(units, SCORE_DECIMALS, out, offset + n_digits + 1), n_digits, out, offset)
    return offset + n_digits + 1 + SCORE_DECIMALS


@jit_no_refcount
def _write_lists(
    rows: NDArray[np.int32],
    scores: NDArray[np.float64],
    reasons: NDArray[np.int32],
    sources: NDArray[np.int32],
    sizes: NDArray[np.int32],
    reason_bytes: NDArray[np.uint8],
    reason_offsets: NDArray[np.int64],
    spans: NDArray[np.int64],
    pool: NDArray[np.uint8],
    out: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:
    """Write the lists (N, K) one after the other to `out`, and the end of each to `ends` (N,)."""
    offset = 0
    for n in range(len(rows)):
        out[offset] = OPEN_BRACKET
        offset += 1
        for position in range(sizes[n]):
            if position:
                out[offset] = COMMA
                offset += 1
            row, reason, source = rows[n, position], reasons[n, position], sources[n, position]
            offset = _append_span(ITEM_PREFIX, 0, len(ITEM_PREFIX), out, offset)
            offset = _append_span(pool, spans[row, 0], spans[row, 1], out, offset)
            offset = _append_span(SCORE_PREFIX, 0, len(SCORE_PREFIX), out, offset)
            offset = _write_number(scores[n, position], out, offset)
            offset = _append_span(reason_bytes, reason_offsets[reason], reason_offsets[reason + 1], out, offset)
            if source != NO_ROW:
                offset = _append_span(pool, spans[source, 0], spans[source, 1], out, offset)
            out[offset], out[offset + 1] = CLOSE_BRACKET, CLOSE_BRACE
            offset += 2
        out[offset] = CLOSE_BRACKET
        offset += 1
        ends[n] = offset
