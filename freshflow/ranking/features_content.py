"""Items by what they are: candidates that resemble what the user has touched, and what their likeness says.

A taste is the mean of the vectors of touched items, the n-th latest weighted by d^n: of the context (d = 0.8), and of
the user's history (d = 0.95). With c the mean of v / |v| over all items, a likeness is what is above that of any item,

    like(t, y) = (t . v_y / |v_y| - t . c) / |t|,   0 where one of both has no vector,

since of many models' embeddings any two resemble each other. An item's categories are liked as much as the touched
items share them, by the same weights, and by what is above their share in all items.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import compiled, inlined
from freshflow.items.embeddings import CATEGORISED, IN_POOL, NEAREST, NEWEST, WARM, Contents
from freshflow.items.index import NO_ROW
from freshflow.items.revisits import VISITS
from freshflow.items.tables import Tables

__all__ = ["COLD", "CONTENT", "clear_tastes", "fill_content", "fill_tastes", "has_content", "nearest"]

# Features of all candidates, behind all others, where content is on.
CONTENT = (
    *("like_last", "like_most", "like_context", "like_taste"),
    *("category_context", "category_taste"),
    *("cold", "cold_like_context", "cold_like_taste", "cold_category_context", "cold_category_taste", "cold_age"),
)
LIKE_LAST, LIKE_MOST, LIKE_CONTEXT, LIKE_TASTE = range(4)
CATEGORY_CONTEXT, CATEGORY_TASTE = range(4, 6)
COLD, COLD_AGE = 6, 11
NONE = -1  # see `freshflow.ranking.candidates.Scratch`

CONTEXT, TASTE = range(2)  # rows of tastes
CONTEXT_DECAY, TASTE_DECAY = np.float32(0.8), np.float32(0.95)
TASTE_OF = 40  # latest items of the history
MOST_OF = 5  # latest items of the context that a candidate may resemble most
FINEST = np.float32(127)


@inlined
def _dot(vectors: NDArray[np.int8], row: int, other: NDArray[np.int8]) -> np.float32:
    total = np.int32(0)
    for d in range(len(other)):
        total = np.int32(total + np.int32(vectors[row, d]) * np.int32(other[d]))
    return np.float32(total)


@inlined
def has_content(contents: Contents) -> bool:
    """Whether content is on."""
    return bool(contents.facts[NEAREST] + contents.facts[NEWEST] > 0)


@compiled
def fill_tastes(
    contents: Contents,
    context: NDArray[np.int32],
    history: NDArray[np.int32],
    tastes: NDArray[np.int8],
    lengths: NDArray[np.float32],
    likes: NDArray[np.float32],
) -> None:
    """Write the tastes of the `context` rows, the latest first, and of `history`, the latest last, -1 where not known.

    `tastes` (2, D) are theirs as vectors, `lengths` (2, 2) hold 1 / |t| and t . c / |t|; `likes` (2, C) by category,
    which are all 0 before, see `clear_tastes`.
    """
    latest = np.empty(TASTE_OF, np.int32)
    n = 0
    for at in range(len(history) - 1, max(len(history) - 1 - TASTE_OF, -1), -1):
        latest[n] = history[at]
        n += 1
    _fill_taste(contents, context, CONTEXT_DECAY, tastes[CONTEXT], lengths[CONTEXT], likes[CONTEXT])
    _fill_taste(contents, latest[:n], TASTE_DECAY, tastes[TASTE], lengths[TASTE], likes[TASTE])


@compiled
def _fill_taste(
    contents: Contents,
    rows: NDArray[np.int32],
    decay: np.float32,
    taste: NDArray[np.int8],
    length: NDArray[np.float32],
    likes: NDArray[np.float32],
) -> None:
    width = len(taste)
    total, weight, weights = np.zeros(width, np.float32), np.float32(1), np.float32(0)
    for row in rows:
        if row >= 0:
            scale = weight * contents.lengths[row]
            if scale > 0:
                vector = contents.vectors[row]
                for d in range(width):
                    total[d] += scale * vector[d]
            if contents.categories[row, 0] >= 0:
                weights += weight
        weight *= decay
    weight = np.float32(1)
    for row in rows:
        if row >= 0 and contents.categories[row, 0] >= 0:
            for code in contents.categories[row]:
                if code >= 0:
                    likes[code] += weight / weights
        weight *= decay
    length[:] = 0
    largest = np.float32(0)
    for d in range(width):
        largest = max(largest, abs(total[d]))
    if largest > 0:
        scale, squares, usual = FINEST / largest, np.float32(0), np.float32(0)
        for d in range(width):
            value = np.rint(total[d] * scale)
            taste[d] = np.int8(value)
            squares += value * value
            usual += value * contents.centre[d]
        length[0] = 1 / np.sqrt(squares)
        length[1] = usual * length[0]


@compiled
def clear_tastes(
    contents: Contents, context: NDArray[np.int32], history: NDArray[np.int32], likes: NDArray[np.float32]
) -> None:
    """Make `likes` all 0 again."""
    for row in context:
        if row >= 0:
            for code in contents.categories[row]:
                if code >= 0:
                    likes[CONTEXT, code] = 0
    for at in range(max(len(history) - TASTE_OF, 0), len(history)):
        if history[at] >= 0:
            for code in contents.categories[history[at]]:
                if code >= 0:
                    likes[TASTE, code] = 0


@inlined
def _like(
    vectors: NDArray[np.int8],
    lengths: NDArray[np.float32],
    row: int,
    taste: NDArray[np.int8],
    length: np.float32,
    usual: np.float32,
) -> np.float32:
    """How much more a row resembles a taste of this length than any item does."""
    like = np.float32(0)
    if lengths[row] > 0 and length > 0:
        like = _dot(vectors, row, taste) * lengths[row] * length - usual
    return like


@inlined
def _category(
    categories: NDArray[np.int32],
    sizes: NDArray[np.int32],
    categorised: np.float32,
    row: int,
    likes: NDArray[np.float32],
) -> np.float32:
    """How much more of a taste than of all items has the categories of a row, on average over these."""
    total, n = np.float32(0), 0
    for place in range(categories.shape[1]):
        code = categories[row, place]
        if code < 0:
            break
        total += likes[code] - np.float32(sizes[code]) / categorised
        n += 1
    return total / np.float32(max(n, 1))


@compiled
def nearest(
    tables: Tables,
    number: NDArray[np.int32],
    tastes: NDArray[np.int8],
    lengths: NDArray[np.float32],
    likes: NDArray[np.float32],
    found: NDArray[np.int32],
) -> int:
    """Write rows of the pool to `found`: what the taste likes best, by vector and category, ties to the newest; and the
    newest. How many.

    Left out is what has been visited enough, is hidden or not available or, by `number` (rows,), must not be shown.
    """
    contents, available, counts = tables.contents, tables.available, tables.returns.counts
    hidden = contents.hidden
    vectors, sized, categories, sizes = contents.vectors, contents.lengths, contents.categories, contents.sizes
    pool, categorised = contents.pool, np.float32(max(contents.facts[CATEGORISED], 1))
    of_taste, of_context, liked, liked_now = tastes[TASTE], tastes[CONTEXT], likes[TASTE], likes[CONTEXT]
    length, usual, length_now, usual_now = (
        lengths[TASTE, 0],
        lengths[TASTE, 1],
        lengths[CONTEXT, 0],
        lengths[CONTEXT, 1],
    )
    wanted, newest, n = contents.facts[NEAREST], contents.facts[NEWEST], 0
    likings = np.empty(wanted, np.float32)
    for at in range(contents.facts[IN_POOL] - 1, -1, -1):
        if wanted + newest == 0:
            break  # the newest are all there, and nothing else was asked for
        row = pool[at]
        if counts[row, VISITS] >= WARM or hidden[row] or not available[row] or number[row] < NONE:
            continue
        if newest > 0:
            newest -= 1
            found[len(found) - 1 - newest] = row
        liking = _like(vectors, sized, row, of_taste, length, usual)
        liking += _category(categories, sizes, categorised, row, liked)
        liking += _like(vectors, sized, row, of_context, length_now, usual_now)
        liking += _category(categories, sizes, categorised, row, liked_now)
        if n < wanted or (n > 0 and liking > likings[n - 1]):
            place = n if n < wanted else n - 1
            while place > 0 and likings[place - 1] < liking:
                likings[place], found[place] = likings[place - 1], found[place - 1]
                place -= 1
            likings[place], found[place] = liking, row
            n = min(n + 1, wanted)
    for at in range(contents.facts[NEWEST] - newest):
        found[n] = found[len(found) - contents.facts[NEWEST] + at]
        n += 1
    return n


@compiled
def fill_content(
    contents: Contents,
    counts: NDArray[np.float64],
    context: NDArray[np.int32],
    tastes: NDArray[np.int8],
    lengths: NDArray[np.float32],
    likes: NDArray[np.float32],
    rows: NDArray[np.int32],
    ages: NDArray[np.float32],
    resembled: NDArray[np.int32],
    features: NDArray[np.float32],
) -> None:
    """Write the features `CONTENT` of candidates in `rows` (N,) to `features` (12, C), and which row of the `context`
    each resembles most, or -1, to `resembled` (N,). `ages` (C,) is the feature of that name.
    """
    vectors, sized, categories, sizes = contents.vectors, contents.lengths, contents.categories, contents.sizes
    categorised = np.float32(max(contents.facts[CATEGORISED], 1))
    of_taste, of_context, liked, liked_now = tastes[TASTE], tastes[CONTEXT], likes[TASTE], likes[CONTEXT]
    length, length_now, usually, usually_now = (
        lengths[TASTE, 0],
        lengths[CONTEXT, 0],
        lengths[TASTE, 1],
        lengths[CONTEXT, 1],
    )
    several, of_several = np.empty((MOST_OF, 2), np.float32), np.empty(MOST_OF, np.int32)
    n_several = 0
    for place in range(min(MOST_OF, len(context))):
        row = context[place]
        if row >= 0:
            usual = np.float32(0)
            for d in range(len(contents.centre)):
                usual += np.float32(contents.vectors[row, d]) * contents.centre[d]
            several[n_several, 0], several[n_several, 1] = contents.lengths[row], usual * contents.lengths[row]
            of_several[n_several] = row
            n_several += 1
    for at in range(len(rows)):
        row = rows[at]
        most, closest, like_most, like_last = np.float32(0), NO_ROW, np.float32(0), np.float32(0)
        for place in range(n_several):
            other = of_several[place]
            like = _like(vectors, sized, row, vectors[other], several[place, 0], several[place, 1])
            if place == 0:
                like_last = like
            like_most = max(like_most, like)
            like += _in_common(categories, row, other)
            if other != row and like > most:
                most, closest = like, other
        resembled[at] = closest
        cold = np.float32(1 / (1 + counts[row, VISITS]))
        features[LIKE_LAST, at], features[LIKE_MOST, at] = like_last, like_most
        features[LIKE_CONTEXT, at] = _like(vectors, sized, row, of_context, length_now, usually_now)
        features[LIKE_TASTE, at] = _like(vectors, sized, row, of_taste, length, usually)
        features[CATEGORY_CONTEXT, at] = _category(categories, sizes, categorised, row, liked_now)
        features[CATEGORY_TASTE, at] = _category(categories, sizes, categorised, row, liked)
        features[COLD, at] = cold
        for n in range(CATEGORY_TASTE - LIKE_CONTEXT + 1):
            features[COLD + 1 + n, at] = cold * features[LIKE_CONTEXT + n, at]
        features[COLD_AGE, at] = cold * ages[at]


@inlined
def _in_common(categories: NDArray[np.int32], one: int, other: int) -> np.float32:
    """The share of the categories of one row that are the other's, too."""
    common, n = np.float32(0), np.float32(0)
    for code in categories[one]:
        if code >= 0:
            n += 1
            for theirs in categories[other]:
                common += theirs == code
    return common / max(n, np.float32(1))
