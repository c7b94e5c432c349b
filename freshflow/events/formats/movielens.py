"""The MovieLens data sets: `ratings.csv` (20M, 25M, 32M, small), `ratings.dat` (1M, 10M) and `u.data` (100k).

Source: their READMEs at files.grouplens.org/datasets/movielens.
"""

from freshflow.events.formats.mapping import Layout, Table

__all__ = ["TABLES"]

COLUMNS = ("userId", "movieId", "rating", "timestamp")

RATINGS = Table(
    format="movielens",
    known_by=(frozenset(COLUMNS),),
    type="rate",
    fields={"user_id": ("userId",), "item_id": ("movieId",), "ts": ("timestamp",), "value": ("rating",)},
    layouts=(
        Layout(COLUMNS, r"\d+::\d+::\d(\.\d)?::\d+", "::"),
        Layout(COLUMNS, r"\d+\t\d+\t\d\t\d+", "\t"),
    ),
)

TABLES = (RATINGS,)
