"""Candidates of a query, each with the evidence for it.

Six sources: neighbours of the items in the context (weighted 0.8^age), what people choose after a search in it, what
lies two steps from the last items, the user's own items, what is popular right now and, where content is on, what few
have touched yet (`freshflow.ranking.features_content`). A candidate's number in the scratch tables is its place of discovery.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import compiled, inlined, lean
from freshflow.items.covisitation import FOLLOW, FORWARD, TOGETHER
from freshflow.items.embeddings import NEAREST, NEWEST, Contents
from freshflow.items.index import grown
from freshflow.items.popularity import recent
from freshflow.items.revisits import VISITS
from freshflow.items.tables import Tables
from freshflow.ranking.features_content import fill_tastes, has_content, nearest
from freshflow.ranking.math_kernels import whole
from freshflow.ranking.query import BANNED as BANNED_AT
from freshflow.ranking.query import CHOSEN, CONTEXT_LENGTH, HISTORY, ONLY, RESTRICTED, SEARCH_AGE, Queries

__all__ = ["AFTER_SEARCH", "EVIDENCE", "Scratch", "fill_up", "gather"]

AGE_DECAY = np.float32(0.8)  # weight of the next older item of the context
OWN_ITEMS = 30  # of a user's items, how many of the latest are candidates for no other reason
RECENT = 32  # in events: whatever was touched this recently is worth a look
# Two steps away: the last items, their strongest neighbours, and the strongest of theirs.
TWO_STEPS_FROM, TWO_STEPS_OVER, TWO_STEPS_TO = 3, 6, 16
# Own and popular items outrank any neighbour when room is short: they are few, and no neighbour row knows them.
OWN_PRIOR, POPULAR_PRIOR = np.float32(20.0), np.float32(10.0)

EVIDENCE = (
    *("forward_last", "forward_second", "forward_sum", "forward_max"),
    *("together_last", "together_second", "together_sum", "together_max"),
    *("follow_last", "backward_last", "cosine", "two_steps"),
    *("count_last", "count_sum"),
)
FORWARD_LAST, FORWARD_SECOND, FORWARD_SUM, FORWARD_MAX = range(4)
TOGETHER_LAST, TOGETHER_SECOND, TOGETHER_SUM, TOGETHER_MAX = range(4, 8)
FOLLOW_LAST, BACKWARD_LAST, COSINE, TWO_STEPS = range(8, 12)
COUNT_LAST, COUNT_SUM = range(12, 14)

GATHERED = 4096  # candidates of one query before the most promising are kept; beyond it none are taken in
NONE, BANNED = -1, -2  # in `number`: no candidate yet; must not become one

# Columns of `Scratch.marks`.
MARKS = 7
ROW, OWN, PLACE, BECAUSE, FLAGS, RESEMBLES, FOUND_AT = range(MARKS)
AFTER_SEARCH = -2  # in `BECAUSE`: the search weighs most
# What speaks for a candidate beside company, in `FLAGS`.
OWN_RECENT, POPULAR, UNTOUCHED = 1, 2, 4
# Behind the evidence: how much the company of `BECAUSE` weighs.
COMPANY = len(EVIDENCE)


class Scratch(NamedTuple):
    """Room for the candidates of one query at a time.

    `number` (rows,) is the candidate's number by item row, or -1. By number: `marks` (G, 7) the row, the index into
    the user's history or -1, the candidate's own index in the context or -1, the index into the context of the item
    whose company weighs most, -1, or -2 where a search weighs most, flags, the row of the item of the context that it
    resembles most or -1, and its place of discovery. By that: `evidence` (G, E + 1) shares in 0..1, sums and counts of
    them, see `EVIDENCE`. `touched` is for intermediate results; `tastes` (2, D), `lengths` (2, 2) and `likes` (2, C)
    are those of the query (`freshflow.ranking.features_content`).
    """

    number: NDArray[np.int32]
    marks: NDArray[np.int32]
    evidence: NDArray[np.float32]
    touched: NDArray[np.int32]
    tastes: NDArray[np.int8]
    lengths: NDArray[np.float32]
    likes: NDArray[np.float32]

    @classmethod
    def empty(cls) -> "Scratch":
        """Room for queries about no item yet."""
        evidence = np.zeros((GATHERED, len(EVIDENCE) + 1), np.float32)
        return cls(
            *(np.empty(0, np.int32), np.full((GATHERED, MARKS), NONE, np.int32), evidence, np.zeros(RECENT, np.int32)),
            *(np.zeros((2, 0), np.int8), np.zeros((2, 2), np.float32), np.zeros((2, 0), np.float32)),
        )

    def for_items(self, capacity: int) -> "Scratch":
        """The same with room for `capacity` item rows."""
        return self if len(self.number) >= capacity else self._replace(number=grown(self.number, capacity, NONE))

    def for_contents(self, contents: Contents) -> "Scratch":
        """The same with room for tastes."""
        width, categories = len(contents.centre), len(contents.sizes)
        if self.tastes.shape[1] == width and self.likes.shape[1] == categories:
            return self
        return self._replace(tastes=np.zeros((2, width), np.int8), likes=np.zeros((2, categories), np.float32))


@lean
def gather(tables: Tables, queries: Queries, q: int, most: int, scratch: Scratch) -> int:
    """Write the candidates of query `q` to `scratch`, at most `most` of those not asked for by name; how many."""
    number, available, counts = scratch.number, tables.available, tables.returns.counts
    context, history = queries.context[q], queries.history[queries.starts[q, HISTORY] : queries.starts[q + 1, HISTORY]]
    banned = queries.banned[queries.starts[q, BANNED_AT] : queries.starts[q + 1, BANNED_AT]]
    for row in banned:
        number[row] = BANNED
    found, open_to = 0, GATHERED
    if queries.facts[q, RESTRICTED]:
        for row in queries.only[queries.starts[q, ONLY] : queries.starts[q + 1, ONLY]]:
            _, found = _admit(number, available, counts, scratch.marks, scratch.evidence, found, row, GATHERED)
        open_to, most = found, max(most, found)
    found = _own_items(history, number, available, counts, scratch.marks, scratch.evidence, found, open_to)
    found = _in_context(context, number, available, counts, scratch.marks, scratch.evidence, found, open_to)
    leading = tables.leading
    for n in range(len(leading.sizes)):
        rows = leading.rows[n, : leading.sizes[n]]
        found = _popular(rows, number, available, counts, scratch.marks, scratch.evidence, found, open_to)
    rows = scratch.touched[: recent(tables.popularity.ring, tables.popularity.clock, scratch.touched)]
    found = _popular(rows, number, available, counts, scratch.marks, scratch.evidence, found, open_to)
    if has_content(tables.contents):
        fill_tastes(tables.contents, context, history, scratch.tastes, scratch.lengths, scratch.likes)
        if found < open_to:
            found = _untouched(tables, scratch, found, open_to)
    covisits, search_age = tables.covisits, CONTEXT_LENGTH
    if queries.starts[q, CHOSEN] < queries.starts[q + 1, CHOSEN]:
        search_age = queries.facts[q, SEARCH_AGE]
        found = _after_search(queries, q, number, available, counts, scratch.marks, scratch.evidence, found, open_to)
    found = _neighbours(
        covisits.neighbours, covisits.weights, covisits.sums, context, search_age, number, available, counts,
        scratch.marks, scratch.evidence, found, open_to,
    )  # fmt: skip
    found = _two_steps(
        covisits.neighbours, covisits.weights, covisits.sums, context, number, available, counts, scratch.marks,
        scratch.evidence, found, open_to,
    )  # fmt: skip
    for at in range(len(history) - OWN_ITEMS):  # what the user touched longer ago
        if history[at] >= 0 and number[history[at]] >= 0:
            scratch.marks[number[history[at]], OWN] = at
    for row in banned:
        number[row] = NONE
    for at in range(found):
        number[scratch.marks[at, ROW]] = NONE
    return _most_promising(scratch.marks, scratch.evidence, found, most) if found > most else found


@lean
def fill_up(scratch: Scratch, found: int, most: int) -> int:
    """Put the first of `found` candidates behind the last, until they are a `whole` number or `most`; how many.

    Those behind are neither the user's own nor of the context, whatever the first is.
    """
    marks, room = scratch.marks, min(whole(found), most)
    for at in range(found, room):
        marks[at, ROW], marks[at, FOUND_AT] = marks[0, ROW], marks[0, FOUND_AT]
        marks[at, OWN] = marks[at, PLACE] = NONE
    return room


@inlined
def _admit(
    number: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    marks: NDArray[np.int32],
    evidence: NDArray[np.float32],
    found: int,
    row: int,
    open_to: int,
) -> tuple[int, int]:
    """The number of the candidate `row`, or a negative one if it cannot be one; and how many there are now.

    What nobody has visited is none: an item has its row before its first visit is folded in.
    """
    at = number[row]
    if at != NONE:
        return at, found
    if found >= open_to or not available[row] or counts[row, VISITS] == 0:
        return BANNED, found
    number[row] = found
    for n in range(COMPANY + 1):
        evidence[found, n] = np.float32(0)
    marks[found, ROW] = row
    marks[found, OWN] = marks[found, PLACE] = marks[found, BECAUSE] = NONE
    marks[found, FLAGS] = 0
    marks[found, FOUND_AT] = found
    return found, found + 1


@lean
def _neighbours(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    context: NDArray[np.int32],
    search_age: int,
    number: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    marks: NDArray[np.int32],
    evidence: NDArray[np.float32],
    found: int,
    open_to: int,
) -> int:
    """What came with the items of the context, and how much of their company it is; a search takes a place in it."""
    decay = np.float32(1)
    for place in range(CONTEXT_LENGTH):
        age = place
        if place >= search_age:
            age += 1
            if place == search_age:
                decay *= AGE_DECAY
        item = context[place]
        if item >= 0 and sums[item, TOGETHER] > 0:
            together_all = np.float32(sums[item, TOGETHER])
            forward_all = np.float32(max(sums[item, FORWARD], 1e-9))
            follow_all = np.float32(max(sums[item, FOLLOW], 1e-9))
            for slot in range(neighbours.shape[1]):
                row = neighbours[item, slot]
                if row < 0:
                    break
                at, found = _admit(number, available, counts, marks, evidence, found, row, open_to)
                if at < 0:
                    continue
                forward, together = weights[item, slot, FORWARD], weights[item, slot, TOGETHER]
                cosine = together / np.sqrt(together_all * max(np.float32(sums[row, TOGETHER]), together)) * decay
                forward_share, together_share = forward / forward_all, together / together_all
                if age == 0:
                    evidence[at, FORWARD_LAST] = forward_share
                    evidence[at, TOGETHER_LAST] = together_share
                    evidence[at, FOLLOW_LAST] = weights[item, slot, FOLLOW] / follow_all
                    evidence[at, BACKWARD_LAST] = max(together - forward, np.float32(0)) / together_all
                    evidence[at, COUNT_LAST] = together
                elif age == 1:
                    evidence[at, FORWARD_SECOND] = forward_share
                    evidence[at, TOGETHER_SECOND] = together_share
                evidence[at, FORWARD_SUM] += forward_share * decay
                evidence[at, TOGETHER_SUM] += together_share * decay
                evidence[at, FORWARD_MAX] = max(evidence[at, FORWARD_MAX], forward_share)
                evidence[at, TOGETHER_MAX] = max(evidence[at, TOGETHER_MAX], together_share)
                evidence[at, COSINE] += cosine
                evidence[at, COUNT_SUM] += together * decay
                if cosine > evidence[at, COMPANY]:
                    evidence[at, COMPANY] = cosine
                    marks[at, BECAUSE] = place
        decay *= AGE_DECAY
    return found


@lean
def _after_search(
    queries: Queries,
    q: int,
    number: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    marks: NDArray[np.int32],
    evidence: NDArray[np.float32],
    found: int,
    open_to: int,
) -> int:
    """What people choose after the search: it is evidence as that of an item at its place in the context would be."""
    age = queries.facts[q, SEARCH_AGE]
    decay = AGE_DECAY**age
    for n in range(queries.starts[q, CHOSEN], queries.starts[q + 1, CHOSEN]):
        at, found = _admit(number, available, counts, marks, evidence, found, queries.chosen[n], open_to)
        if at < 0:
            continue
        share, count = queries.shares[n], queries.choices[n]
        if age == 0:
            evidence[at, FORWARD_LAST] = evidence[at, TOGETHER_LAST] = evidence[at, FOLLOW_LAST] = share
            evidence[at, COUNT_LAST] = count
        elif age == 1:
            evidence[at, FORWARD_SECOND] = evidence[at, TOGETHER_SECOND] = share
        evidence[at, FORWARD_SUM] = evidence[at, TOGETHER_SUM] = share * decay
        evidence[at, FORWARD_MAX] = evidence[at, TOGETHER_MAX] = share
        evidence[at, COSINE] = share * decay
        evidence[at, COUNT_SUM] = count * decay
        evidence[at, COMPANY] = share * decay
        marks[at, BECAUSE] = AFTER_SEARCH
    return found


@lean
def _two_steps(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    context: NDArray[np.int32],
    number: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    marks: NDArray[np.int32],
    evidence: NDArray[np.float32],
    found: int,
    open_to: int,
) -> int:
    """What comes with that which comes with the last items: it reaches further where little is known.

    two_steps(c) = sum over items x of the context and their neighbours y of  0.8^age share(x, y) share(y, c)
    """
    decay = np.float32(1)
    slots = neighbours.shape[1]
    for age in range(TWO_STEPS_FROM):
        item = context[age]
        if item >= 0 and sums[item, TOGETHER] > 0:
            for nth in range(min(TWO_STEPS_OVER, slots)):
                over = neighbours[item, nth]
                if over < 0:
                    break
                share = weights[item, nth, TOGETHER] / np.float32(sums[item, TOGETHER])
                share *= decay / np.float32(sums[over, TOGETHER])
                for slot in range(min(TWO_STEPS_TO, slots)):
                    row = neighbours[over, slot]
                    if row < 0:
                        break
                    at, found = _admit(number, available, counts, marks, evidence, found, row, open_to)
                    if at >= 0:
                        evidence[at, TWO_STEPS] += share * weights[over, slot, TOGETHER]
        decay *= AGE_DECAY
    return found


@lean
def _own_items(
    history: NDArray[np.int32],
    number: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    marks: NDArray[np.int32],
    evidence: NDArray[np.float32],
    found: int,
    open_to: int,
) -> int:
    """What the user has touched of late: people come back."""
    for entry in range(max(0, len(history) - OWN_ITEMS), len(history)):
        if history[entry] >= 0:
            at, found = _admit(number, available, counts, marks, evidence, found, history[entry], open_to)
            if at >= 0:
                marks[at, OWN] = entry
                marks[at, FLAGS] |= OWN_RECENT
    return found


@lean
def _in_context(
    context: NDArray[np.int32],
    number: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    marks: NDArray[np.int32],
    evidence: NDArray[np.float32],
    found: int,
    open_to: int,
) -> int:
    """The context's items themselves: their place in it is evidence."""
    for place in range(CONTEXT_LENGTH):
        if context[place] >= 0:
            at, found = _admit(number, available, counts, marks, evidence, found, context[place], open_to)
            if at >= 0:
                marks[at, PLACE] = place
    return found


@lean
def _popular(
    rows: NDArray[np.int32],
    number: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    marks: NDArray[np.int32],
    evidence: NDArray[np.float32],
    found: int,
    open_to: int,
) -> int:
    """What leads the windows, of all visits and of those that open a session, and whatever was touched just now."""
    for row in rows:
        if row >= 0:
            at, found = _admit(number, available, counts, marks, evidence, found, row, open_to)
            if at >= 0:
                marks[at, FLAGS] |= POPULAR
    return found


@compiled
def _untouched(tables: Tables, scratch: Scratch, found: int, open_to: int) -> int:
    """What few have visited and is like what the user has touched, and what is new; an item needs no visit for it."""
    contents, number, marks = tables.contents, scratch.number, scratch.marks
    rows = np.empty(contents.facts[NEAREST] + 2 * contents.facts[NEWEST], np.int32)
    size = nearest(tables, number, scratch.tastes, scratch.lengths, scratch.likes, rows)
    for row in rows[:size]:
        at = number[row]
        if at == NONE:
            if found >= open_to:
                break
            at, number[row] = found, found
            scratch.evidence[at] = 0
            marks[at, ROW] = row
            marks[at, OWN] = marks[at, PLACE] = marks[at, BECAUSE] = marks[at, RESEMBLES] = NONE
            marks[at, FLAGS], marks[at, FOUND_AT] = 0, found
            found += 1
        marks[at, FLAGS] |= UNTOUCHED
    return found


@compiled
def _most_promising(marks: NDArray[np.int32], evidence: NDArray[np.float32], found: int, most: int) -> int:
    """Keep the `most` candidates with the most company; ties in order of discovery."""
    prior = np.zeros(whole(found), np.float32)
    for at in range(found):
        prior[at] = evidence[at, FORWARD_SUM] + evidence[at, TOGETHER_SUM] + evidence[at, COSINE]
        prior[at] += evidence[at, TWO_STEPS]
        if marks[at, FLAGS] & OWN_RECENT:
            prior[at] += OWN_PRIOR
        if marks[at, FLAGS] & (POPULAR | UNTOUCHED):
            prior[at] += POPULAR_PRIOR
    bits = prior.view(np.int32)  # of numbers that are not negative, the bits are in the same order
    floor, at_floor = _floor(bits, most), most
    for at in range(found):
        at_floor -= bits[at] > floor
    kept = 0
    for at in range(found):
        if bits[at] > floor or (bits[at] == floor and at_floor > 0):
            at_floor -= bits[at] == floor
            for n in range(MARKS):
                marks[kept, n] = marks[at, n]
            kept += 1
    return kept


@lean
def _floor(values: NDArray[np.int32], nth: int) -> int:
    """A number that exactly `nth` of `values` (N,) reach, or else the `nth` highest of them; none is negative.

    It is found bit by bit from the top. To count all of them some 20 times, several at once, takes less time than to
    put them in order.
    """
    floor = np.int32(0)
    for bit in range(30, -1, -1):
        tried, reaching = floor | np.int32(1 << bit), np.int32(0)
        for n in range(len(values)):
            reaching += np.int32(values[n] >= tried)
        if reaching >= nth:
            floor = tried
        if reaching == nth:
            break
    return int(floor)
