"""Response types of the HTTP API; bodies are encoded from them, and the OpenAPI description is generated from them."""

from typing import Literal

import msgspec

from freshflow.outputs.records import ListItem, RecommendationList, RelatedItems

ListKind = Literal["recommendations", "related"]
LIST_KINDS: tuple[ListKind, ...] = ("recommendations", "related")


class Recommendations(RecommendationList[tuple[ListItem, ...]], frozen=True, omit_defaults=True, gc=False):
    """A user's latest list, as published by the job; with `k`, its first k items."""


class Related(RelatedItems, frozen=True, gc=False):
    """The items nearest to an item, as published by the job; with `k`, the first k of them."""


class Problem(msgspec.Struct, frozen=True):
    """The reason of a failed request, in one sentence."""

    error: str


class InputHealth(msgspec.Struct, frozen=True):
    """Progress of reading one input.

    `records` counts the records stored since the start, including `tombstones`. `skipped` counts the records that were
    not stored: answers to searches, and records of another kind. `behind` is the unread rest of the input, in bytes of
    a file or records of a topic. `staleness_s` is the age of the latest record, null before the first. `failure` is the
    reason for a current read failure.
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
    """State of the server: `catching up` until the records present at the start are read, then `ok`; else `failed`.

    `users` and `items` count the stored lists, null if the store cannot be read; `failure` is the reason.
    """

    status: Literal["ok", "catching up", "failed"]
    users: int | None
    items: int | None
    inputs: tuple[InputHealth, ...]
    failure: str | None = None
