"""MovieLens data sets: `ratings.csv` (20M, 25M, 32M, small), `ratings.dat` (1M, 10M) and `u.data` (100k).

Source: their READMEs at files.grouplens.org/datasets/movielens.
"""

from freshflow.events.formats.mapping import FormatMapping, Layout
from freshflow.events.formats.registry import register_format

RATING_COLUMNS = ("userId", "movieId", "rating", "timestamp")

RATINGS = FormatMapping(
    format="movielens",
    signatures=(frozenset(RATING_COLUMNS),),
    type="rate",
    fields={"user_id": ("userId",), "item_id": ("movieId",), "ts": ("timestamp",), "value": ("rating",)},
    layouts=(
        Layout(RATING_COLUMNS, r"\d+::\d+::\d(\.\d)?::\d+", "::"),
        Layout(RATING_COLUMNS, r"\d+\t\d+\t\d\t\d+", "\t"),
    ),
)

register_format(RATINGS)
