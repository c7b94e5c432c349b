"""What is answered, as types: the bodies of the API are encoded from them, and its description is made of them."""

from typing import Literal

import msgspec

from freshflow.outputs.records import ListItem, RecommendationList, RelatedItem, RelatedItems

__all__ = ["LIST_KINDS", "Health", "InputHealth", "ListKind", "Problem", "Recommendations", "Related", "RelatedItem"]

ListKind = Literal["recommendations", "related"]
LIST_KINDS: tuple[ListKind, ...] = ("recommendations", "related")


class Recommendations(RecommendationList[tuple[ListItem, ...]], frozen=True, omit_defaults=True, gc=False):
    """A user's latest list, as the job published it; with `k` its first items."""


class Related(RelatedItems, frozen=True, gc=False):
    """The items nearest to an item, as the job published them; with `k` the first of them."""


class Problem(msgspec.Struct, frozen=True):
    """Why there is no other answer, in a sentence."""

    error: str


class InputHealth(msgspec.Struct, frozen=True):
    """How far one input has been read.

    `records` were taken over since the start, `tombstones` among them; `skipped` were not: answers to searches, and
    what is no record of this kind. `behind` is what is there and not read yet, in bytes of a file or records of a
    topic; `staleness_s` is how long ago the latest record was made, null before the first. `failure` says why nothing
    is read at the moment.
    """

    kind: ListKind
    input: str
    records: int
    tombstones: int
    skipped: int
    behind: int
    behind_unit: Literal["bytes", "records"]
    staleness_s: float | None
    failure: str | None


class Health(msgspec.Struct, frozen=True):
    """`ok` if all that was there at the start has been read, `catching up` before, `failed` while something is wrong.

    `users` and `items` are those that have lists, null while the store does not say; `failure` tells why it does not.
    """

    status: Literal["ok", "catching up", "failed"]
    users: int | None
    items: int | None
    inputs: tuple[InputHealth, ...]
    failure: str | None = None
