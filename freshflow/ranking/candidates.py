"""Candidates of many queries at once, each with the evidence for it.

Three sources, gathered into one list of entries (query, item, evidence) that is sorted once and summed by segment:
neighbours of the items in the context (weighted 0.8^age), the user's own items, and what is popular right now.
The result is dense: row q of every array holds the candidates of query q, the most promising first, padded with -1.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.config import RankingConfig
from freshflow.items.knowledge import Chunk, ItemKnowledge
from freshflow.items.rows import NO_ROW
from freshflow.ranking.queries import Query

__all__ = ["AGE_DECAY", "CONTEXT_LENGTH", "EVIDENCE", "Candidates", "gather"]

CONTEXT_LENGTH = 10  # items of the context whose neighbours are looked up
AGE_DECAY = 0.8  # weight of the next older item of the context
# Own and popular items outrank any neighbour when room is short: they are few, and no neighbour row knows them.
OWN_PRIOR, POPULAR_PRIOR = 20.0, 10.0

SUMS = (
    "forward_last",
    "forward_second",
    "forward_sum",
    "together_last",
    "together_second",
    "together_sum",
    "cosine",
)
MAXIMA = ("forward_max", "together_max")
EVIDENCE = SUMS + MAXIMA

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Candidates(msgspec.Struct, frozen=True):
    """Candidates of Q queries, C at most each.

    `rows` (Q, C) item rows, -1 padded; `evidence` by name (Q, C) shares in 0..1 and sums of them, see `EVIDENCE`;
    `own` (Q, C) index into the user's history, or -1; `because` (Q, C) index into the context of the item whose
    company weighs most, or -1; `place` (Q, C) the candidate's own index in the context, or -1.
    """

    rows: Ints
    evidence: dict[str, Floats]
    own: Ints
    because: Ints
    place: Ints

    @property
    def real(self) -> NDArray[np.bool_]:
        """Which places hold a candidate (Q, C)."""
        return self.rows != NO_ROW


class _Entries(msgspec.Struct):
    """Columns of one source: E entries of (query, row), evidence `sums` (7, E) and `maxima` (2, E), and marks."""

    query: Ints
    row: Ints
    sums: Floats
    maxima: Floats
    own: Ints
    popular: Ints
    because: Ints
    place: Ints


def gather(knowledge: ItemKnowledge, chunk: Chunk, queries: Sequence[Query], config: RankingConfig) -> Candidates:
    """The candidates of each query, from item knowledge as it is and the chunk's visits before the query."""
    contexts = _context_rows(knowledge, queries)
    sources = [
        _neighbours(knowledge, contexts),
        _own_items(knowledge, queries),
        _in_context(contexts),
        _popular(knowledge, chunk, queries, config),
        _asked_for(knowledge, queries),
    ]
    entries = _Entries(*(np.concatenate(column, axis=-1) for column in zip(*map(_columns, sources), strict=True)))
    width = max([config.candidates, *(len(query.only or ()) for query in queries)])
    return _dense(_merge(_allowed(knowledge, queries, entries)), len(queries), width)


def _columns(entries: _Entries) -> tuple[NDArray[np.generic], ...]:
    return tuple(getattr(entries, name) for name in entries.__struct_fields__)


def _context_rows(knowledge: ItemKnowledge, queries: Sequence[Query]) -> Ints:
    """Rows of the context's items (Q, 10), the most recent first, -1 where there is none."""
    contexts = np.full((len(queries), CONTEXT_LENGTH), NO_ROW)
    get = knowledge.rows.get
    for n, query in enumerate(queries):
        items = query.context.items[:CONTEXT_LENGTH]
        contexts[n, : len(items)] = [get(item) for item in items]
    return contexts


def _neighbours(knowledge: ItemKnowledge, contexts: Ints) -> _Entries:
    query, age = np.nonzero(contexts != NO_ROW)
    item = contexts[query, age]
    covisits = knowledge.covisits
    slots = covisits.neighbours[item]
    at, slot = np.nonzero(slots != NO_ROW)
    query, age, item, row = query[at], age[at], item[at], slots[at, slot].astype(np.int64)
    together = covisits.together[item, slot]
    own_sum, other_sum = covisits.together_sum[item], covisits.together_sum[row]
    cosine = together / np.sqrt(own_sum * np.maximum(other_sum, together))
    forward = covisits.forward[item, slot] / np.maximum(covisits.forward_sum[item], 1e-9)
    together = together / own_sum
    decay = (AGE_DECAY**age).astype(np.float32)
    last, second = age == 0, age == 1
    sums = np.stack(
        [
            forward * last,
            forward * second,
            forward * decay,
            together * last,
            together * second,
            together * decay,
        ]
        + [cosine * decay]
    )
    entries = _blank(query, row)
    entries.sums[:], entries.maxima[:] = sums, (forward, together)
    # The strongest neighbour's age, found by the same maximum as its strength: strength in the high bits.
    entries.because[:] = ((cosine * decay * 2**40).astype(np.int64) << 8) | age
    return entries


def _own_items(knowledge: ItemKnowledge, queries: Sequence[Query]) -> _Entries:
    get = knowledge.rows.get
    query = np.repeat(np.arange(len(queries)), [len(query.user.items) for query in queries])
    row = np.array([get(item) for query in queries for item in query.user.items], np.int64)
    own = np.array([n for query in queries for n in range(len(query.user.items))], np.int64)
    known = row != NO_ROW
    entries = _blank(query[known], row[known])
    entries.own[:] = own[known]
    return entries


def _in_context(contexts: Ints) -> _Entries:
    """The context's items themselves: their place in it is evidence."""
    query, place = np.nonzero(contexts != NO_ROW)
    entries = _blank(query, contexts[query, place])
    entries.place[:] = place
    return entries


def _popular(knowledge: ItemKnowledge, chunk: Chunk, queries: Sequence[Query], config: RankingConfig) -> _Entries:
    """What leads the two windows, and whatever was touched in the last events, the chunk's own included."""
    popularity = knowledge.popularity
    top = (popularity.top(0, config.popular_recent), popularity.top(1, config.popular), popularity.recent())
    rows = np.unique(np.concatenate(top))
    new_query, new_row = chunk.popularity.touched_before(np.array([query.position for query in queries]))
    entries = _blank(
        np.concatenate([np.repeat(np.arange(len(queries)), len(rows)), new_query]),
        np.concatenate([np.tile(rows, len(queries)), new_row]),
    )
    entries.popular[:] = 1
    return entries


def _asked_for(knowledge: ItemKnowledge, queries: Sequence[Query]) -> _Entries:
    get = knowledge.rows.get
    asked = [(n, row) for n, query in enumerate(queries) for item in query.only or () if (row := get(item)) >= 0]
    query, row = np.array(asked, np.int64).reshape(-1, 2).T
    return _blank(query, row)


def _blank(query: Ints, row: Ints) -> _Entries:
    n = len(query)
    return _Entries(
        query=query,
        row=row,
        sums=np.zeros((len(SUMS), n), np.float32),
        maxima=np.zeros((len(MAXIMA), n), np.float32),
        own=np.full(n, -1),
        popular=np.zeros(n, np.int64),
        because=np.full(n, -1),
        place=np.full(n, -1),
    )


def _allowed(knowledge: ItemKnowledge, queries: Sequence[Query], entries: _Entries) -> _Entries:
    """Entries of items that are available and, for a search, asked for."""
    keep = knowledge.catalogue.available[entries.row]
    if any(query.only is not None for query in queries):
        get = knowledge.rows.get
        for n, query in enumerate(queries):
            if query.only is not None:
                asked = np.array([get(item) for item in query.only])
                keep &= (entries.query != n) | np.isin(entries.row, asked)
    if keep.all():
        return entries
    return _Entries(*(column[..., keep] for column in _columns(entries)))


def _merge(entries: _Entries) -> _Entries:
    """One entry for each (query, row), in that order: evidence summed or maximal, marks maximal."""
    if not len(entries.query):
        return entries
    key = (entries.query << 32) | entries.row
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    return _Entries(
        query=key[starts] >> 32,
        row=key[starts] & 0xFFFFFFFF,
        sums=np.add.reduceat(entries.sums[:, order], starts, axis=1),
        maxima=np.maximum.reduceat(entries.maxima[:, order], starts, axis=1),
        own=np.maximum.reduceat(entries.own[order], starts),
        popular=np.maximum.reduceat(entries.popular[order], starts),
        because=np.maximum.reduceat(entries.because[order], starts),
        place=np.maximum.reduceat(entries.place[order], starts),
    )


def _dense(entries: _Entries, queries: int, width: int) -> Candidates:
    """The `width` most promising entries of each query, in that order; ties by row."""
    company = entries.sums[SUMS.index("forward_sum")] + entries.sums[SUMS.index("together_sum")]
    own = np.where(entries.own >= 0, OWN_PRIOR + 1e-3 * entries.own, 0)
    prior = company + entries.sums[SUMS.index("cosine")] + own + POPULAR_PRIOR * entries.popular
    order = np.lexsort((-prior, entries.query))
    counts = np.bincount(entries.query, minlength=queries)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = min(width, int(counts.max(initial=0)))
    order, place = order[place < width], place[place < width]
    at = (entries.query[order], place)
    shape = (queries, width)

    def spread(values: NDArray[np.generic], fill: float, dtype: type) -> NDArray[np.generic]:
        dense = np.full(shape, fill, dtype)
        dense[at] = values[order]
        return dense

    values = np.concatenate([entries.sums, entries.maxima])
    because = np.where(entries.because >= 0, entries.because & 0xFF, -1)
    return Candidates(
        rows=spread(entries.row, NO_ROW, np.int64),
        evidence={name: spread(values[n], 0, np.float32) for n, name in enumerate(EVIDENCE)},
        own=spread(entries.own, -1, np.int64),
        because=spread(because, -1, np.int64),
        place=spread(entries.place, -1, np.int64),
    )
