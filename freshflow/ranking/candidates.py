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
OWN_ITEMS = 30  # of a user's items, how many of the latest are candidates for no other reason
# Two steps away: the strongest neighbours of the last items, and their strongest neighbours in turn. Two items, five
# and sixteen neighbours are a small part of the work of three, eight and all, and bring nearly as much.
TWO_STEPS = (2, 5, 16)
# Where people come in, among the candidates of every query.
OPENING_RECENT, OPENING = 30, 40
# Own and popular items outrank any neighbour when room is short: they are few, and no neighbour row knows them.
OWN_PRIOR, POPULAR_PRIOR = 20.0, 10.0

SUMS = (
    *("forward_last", "forward_second", "forward_sum"),
    *("together_last", "together_second", "together_sum"),
    *("cosine", "two_steps"),
)
MAXIMA = ("forward_max", "together_max")
EVIDENCE = SUMS + MAXIMA
MARKS = ("own", "place", "because", "popular", "recent")

# A key holds query, row and the entry's number, in this many bits: one sort of plain integers orders entries, and is
# an order of magnitude faster than sorting by an index.
ROW_BITS, ENTRY_BITS = 24, 24

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Candidates(msgspec.Struct, frozen=True):
    """Candidates of Q queries, C at most each.

    `rows` (Q, C) item rows, -1 padded; `evidence` by name (Q, C) shares in 0..1 and sums of them, see `EVIDENCE`;
    `own` (Q, C) index into the user's history, or -1; `place` (Q, C) the candidate's own index in the context, or -1;
    `because` (Q, C) index into the context of the item whose company weighs most, or -1.
    """

    rows: Ints
    evidence: dict[str, Floats]
    own: Ints
    place: Ints
    because: Ints

    @property
    def real(self) -> NDArray[np.bool_]:
        """Which places hold a candidate (Q, C)."""
        return np.not_equal(self.rows, NO_ROW)

    def after(self, query: int) -> "Candidates":
        """Those of query number `query` and all that follow it."""
        evidence = {name: values[query:] for name, values in self.evidence.items()}
        return Candidates(self.rows[query:], evidence, self.own[query:], self.place[query:], self.because[query:])


class _Entries(msgspec.Struct):
    """E entries: `query` and `row` (E,), evidence `values` by name (E,) where there is any, `marks` (4, E) or -1."""

    query: Ints
    row: Ints
    marks: Ints
    values: dict[str, Floats]


def gather(knowledge: ItemKnowledge, chunk: Chunk, queries: Sequence[Query], config: RankingConfig) -> Candidates:
    """The candidates of each query, from item knowledge as it is and the chunk's visits before the query."""
    contexts = _context_rows(knowledge, queries)
    entries = _joined(
        _neighbours(knowledge, contexts),  # these two first, so that evidence is a prefix of the entries
        _two_steps(knowledge, contexts),
        _own_items(knowledge, queries),
        _in_context(contexts),
        _popular(knowledge, chunk, queries, config),
        _asked_for(knowledge, chunk, queries),
    )
    widths = np.array([max(config.candidates, len(query.only or ())) for query in queries], np.int64)
    return _dense(_merged(_allowed(knowledge, queries, entries)), widths)


def _context_rows(knowledge: ItemKnowledge, queries: Sequence[Query]) -> Ints:
    """Rows of the context's items (Q, 10), the most recent first, -1 where there is none."""
    contexts = np.full((len(queries), CONTEXT_LENGTH), NO_ROW)
    for n, query in enumerate(queries):
        items = query.context.items[:CONTEXT_LENGTH]
        contexts[n, : len(items)] = knowledge.rows.rows_or_none(items)
    return contexts


def _neighbours(knowledge: ItemKnowledge, contexts: Ints) -> _Entries:
    """What came with the items of the context, and how much of their company it is."""
    query, age = np.nonzero(contexts != NO_ROW)
    item = contexts[query, age]
    covisits = knowledge.covisits
    at, slot = np.nonzero(covisits.neighbours[item] != NO_ROW)
    query, age, item = query[at], age[at], item[at]
    row = covisits.neighbours[item, slot].astype(np.int64)

    together, forward = covisits.together[item, slot], covisits.forward[item, slot]
    item_sum, row_sum = covisits.together_sum[item], covisits.together_sum[row]
    decay = (np.float32(AGE_DECAY) ** np.arange(CONTEXT_LENGTH, dtype=np.float32))[age]
    cosine = together / np.sqrt(item_sum * np.maximum(row_sum, together)) * decay
    forward_share = np.divide(forward, np.maximum(covisits.forward_sum[item], 1e-9), dtype=np.float32)
    together_share = np.divide(together, item_sum, dtype=np.float32)
    values: dict[str, Floats] = {
        "forward_last": forward_share * (age == 0),
        "forward_second": forward_share * (age == 1),
        "forward_sum": forward_share * decay,
        "forward_max": forward_share,
        "together_last": together_share * (age == 0),
        "together_second": together_share * (age == 1),
        "together_sum": together_share * decay,
        "together_max": together_share,
        "cosine": cosine,
    }
    # The strongest neighbour's age is found by the maximum of its strength, which stands in the high bits.
    strongest = ((cosine * 2**40).astype(np.int64) << 8) | age
    return _entries(query, row, {"because": strongest}, values)


def _two_steps(knowledge: ItemKnowledge, contexts: Ints) -> _Entries:
    """What comes with that which comes with the last items: it reaches further where little is known.

    two_steps(c) = sum over items x of the context and their neighbours y of  0.8^age share(x, y) share(y, c)
    """
    covisits = knowledge.covisits
    lasts, first, second = TWO_STEPS
    query, age = np.nonzero(contexts[:, :lasts] != NO_ROW)
    item, strength = contexts[query, age], (np.float32(AGE_DECAY) ** age).astype(np.float32)
    for strongest in (first, second):
        slots = _strongest(covisits.together[item], strongest)
        at, column = np.nonzero(np.take_along_axis(covisits.neighbours[item], slots, axis=1) != NO_ROW)
        slot, item = slots[at, column], item[at]
        share = np.divide(covisits.together[item, slot], covisits.together_sum[item], dtype=np.float32)
        strength = strength[at] * share
        query, item = query[at], covisits.neighbours[item, slot].astype(np.int64)
    return _entries(query, item, {}, {"two_steps": strength})


def _strongest(weights: Floats, n: int) -> Ints:
    """The columns of the `n` largest values of each row, in any order."""
    if n >= weights.shape[1]:
        return np.broadcast_to(np.arange(weights.shape[1]), weights.shape)
    return np.argpartition(-weights, n - 1, axis=1)[:, :n]


def _own_items(knowledge: ItemKnowledge, queries: Sequence[Query]) -> _Entries:
    """What the user has touched: people come back."""
    query = np.repeat(np.arange(len(queries)), [len(query.user.items) for query in queries])
    row = np.array(knowledge.rows.rows_or_none([item for query in queries for item in query.user.items]), np.int64)
    own = np.array([n for query in queries for n in range(len(query.user.items))], np.int64)
    length = np.array([len(query.user.items) for query in queries])[query]
    known = row != NO_ROW
    recent = (own >= length - OWN_ITEMS)[known].astype(np.int64)
    return _entries(query[known], row[known], {"own": own[known], "recent": recent})


def _in_context(contexts: Ints) -> _Entries:
    """The context's items themselves: their place in it is evidence."""
    query, place = np.nonzero(contexts != NO_ROW)
    return _entries(query, contexts[query, place], {"place": place})


def _popular(knowledge: ItemKnowledge, chunk: Chunk, queries: Sequence[Query], config: RankingConfig) -> _Entries:
    """What leads the two windows, and whatever was touched in the last events, the chunk's own included."""
    popularity, openings = knowledge.popularity, knowledge.openings
    all_visits = (popularity.top(0, config.popular_recent), popularity.top(1, config.popular), popularity.recent())
    rows = np.unique(np.concatenate([*all_visits, openings.top(0, OPENING_RECENT), openings.top(1, OPENING)]))
    new_query, new_row = chunk.popularity.touched_before(np.array([query.position for query in queries], np.int64))
    query = np.concatenate([np.repeat(np.arange(len(queries)), len(rows)), new_query])
    row = np.concatenate([np.tile(rows, len(queries)), new_row])
    return _entries(query, row, {"popular": np.ones(len(row), np.int64)})


def _asked_for(knowledge: ItemKnowledge, chunk: Chunk, queries: Sequence[Query]) -> _Entries:
    """The items that a search is restricted to, as far as anything is known of them by then."""
    asked = [(n, knowledge.rows.get(item)) for n, query in enumerate(queries) for item in query.only or ()]
    query, row = np.array([(n, row) for n, row in asked if row != NO_ROW], np.int64).reshape(-1, 2).T
    position = np.array([query.position for query in queries], np.int64)[query]
    known = chunk.popularity.first_ms(row, position) > 0
    return _entries(query[known], row[known], {})


def _entries(query: Ints, row: Ints, marks: dict[str, Ints], values: dict[str, Floats] | None = None) -> _Entries:
    table = np.full((len(MARKS), len(row)), -1)
    for name, mark in marks.items():
        table[MARKS.index(name)] = mark
    return _Entries(query, row, table, values or {})


def _joined(*parts: _Entries) -> _Entries:
    """All entries, and their evidence padded to that of the last part that has any."""
    lengths = [len(part.row) for part in parts if part.values]
    values = {name: np.zeros(sum(lengths), np.float32) for part in parts for name in part.values}
    start = 0
    for part, length in zip(parts, lengths, strict=False):
        for name, value in part.values.items():
            values[name][start : start + length] = value
        start += length
    return _Entries(
        np.concatenate([part.query for part in parts]),
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.marks for part in parts], axis=1),
        values,
    )


def _allowed(knowledge: ItemKnowledge, queries: Sequence[Query], entries: _Entries) -> _Entries:
    """Entries of items that are available, not dismissed by the user, and, for a search, asked for."""
    keep = knowledge.catalogue.available[entries.row]
    for n, query in enumerate(queries):
        if query.user.dismissed:
            dismissed = np.array(knowledge.rows.rows(query.user.dismissed), np.int64)
            keep &= (entries.query != n) | ~np.isin(entries.row, dismissed)
        if query.only is not None:
            asked = np.array(knowledge.rows.rows_or_none(query.only), np.int64)
            keep &= (entries.query != n) | np.isin(entries.row, asked)
    if keep.all():
        return entries
    with_value = keep[: len(next(iter(entries.values.values())))]
    values = {name: value[with_value] for name, value in entries.values.items()}
    return _Entries(entries.query[keep], entries.row[keep], entries.marks[:, keep], values)


def _merged(entries: _Entries) -> _Entries:
    """One entry for each (query, row), in that order: evidence summed or maximal, marks maximal."""
    n = len(entries.row)
    key = (entries.query << ROW_BITS | entries.row) << ENTRY_BITS | np.arange(n)
    key.sort()
    order, key = key & ((1 << ENTRY_BITS) - 1), key >> ENTRY_BITS
    first = np.ones(n, np.bool_)
    np.not_equal(key[1:], key[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    if not n:
        return entries
    segment = np.empty(n, np.int64)
    segment[order] = np.cumsum(first) - 1
    with_value = segment[: len(entries.values["cosine"])]
    values = {name: np.bincount(with_value, entries.values[name], len(starts)).astype(np.float32) for name in SUMS}
    for name in MAXIMA:
        values[name] = np.zeros(len(starts), np.float32)
        np.maximum.at(values[name], with_value, entries.values[name])
    marks = np.maximum.reduceat(np.take(entries.marks, order, axis=1), starts, axis=1)
    key = key[starts]
    return _Entries(key >> ROW_BITS, key & ((1 << ROW_BITS) - 1), marks, values)


def _dense(entries: _Entries, widths: Ints) -> Candidates:
    """The most promising entries of each query, at most `widths` (Q,) of them, in that order; ties by row."""
    own, place, because, popular, recent = entries.marks
    company = entries.values["forward_sum"] + entries.values["together_sum"] + entries.values["cosine"]
    company = company + entries.values["two_steps"]
    prior = company + OWN_PRIOR * (recent > 0) + POPULAR_PRIOR * (popular > 0)
    order = np.lexsort((-prior, entries.query))
    queries = len(widths)
    counts = np.bincount(entries.query, minlength=queries)
    column = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = int(np.minimum(widths, counts).max(initial=0))
    fits = column < widths[entries.query[order]]
    order, column = order[fits], column[fits]
    at = entries.query[order] * width + column

    def spread_marks(values: Ints) -> Ints:
        dense = np.full(queries * width, -1)
        dense[at] = values[order]
        return dense.reshape(queries, width)

    def spread_evidence(values: Floats) -> Floats:
        dense = np.zeros(queries * width, np.float32)
        dense[at] = values[order]
        return dense.reshape(queries, width)

    return Candidates(
        rows=spread_marks(entries.row),
        evidence={name: spread_evidence(entries.values[name]) for name in EVIDENCE},
        own=spread_marks(own),
        place=spread_marks(place),
        because=spread_marks(np.where(because >= 0, because & 0xFF, -1)),
    )
