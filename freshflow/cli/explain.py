"""Command `freshflow explain`: prints a user's latest list with a readable reason for each item."""

import os
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from freshflow.cli.options import ConfigFile
from freshflow.config.loader import load_config
from freshflow.errors import InputError
from freshflow.io.registry import look_up
from freshflow.outputs.records import ListItem, PublishedList

MAX_CONTRIBUTIONS = 3  # contributions shown per item

CAUSE_TEXTS = {
    "interaction": "because of an event of the user",
    "request": "because it was asked for",
    "search": "as the answer to a search",
    "identify": "because a guest was identified",
    "refresh": "because items or models changed after the user's latest event",
}
REASON_TEXTS = {
    "again": "the user came back to it before",
    "popular": "popular right now",
    "searched": "chosen by others after this search",
    "engine": "in the search engine's position",
    "unknown": "found by the search engine; no user has interacted with it yet",
    "new": "new; no user has interacted with it yet",
    "similar": "similar to items the user looked at",
    "pinned": "pinned to its place",
    "fresh": "new: a share of the list is kept for new items",
    "explore": "young: shown to learn its value",
    "together": "related to items the user looked at",
}


def explain(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    lists: Annotated[str, typer.Option("--lists", metavar="URL", help="The job's lists: a path or kafka://…/topic.")],
    config: ConfigFile = None,
) -> None:
    """Print a user's latest list with the reason for every item.

    With `lists.contributions = true` the job also writes each feature's contribution to a score; the largest are shown.
    """
    encoded_list = look_up(lists, user, load_config(config, os.environ))
    if encoded_list is None:
        raise InputError(f"There is no list of {user} in {lists}: they have done nothing yet, or were forgotten.")
    try:
        published_list = msgspec.json.decode(encoded_list, type=PublishedList)
    except msgspec.MsgspecError as error:
        raise InputError(
            f"The record of {user} in {lists} is not a list ({error}); give the output of a job."
        ) from None
    console = Console()
    console.print(_headline(published_list), highlight=False, markup=False, soft_wrap=True)
    console.print(_table(published_list))


def _headline(published_list: PublishedList) -> str:
    computed_time, event_time = (
        datetime.fromtimestamp(ms / 1000, UTC) for ms in (published_list.computed_at, published_list.event_ts)
    )
    source = " ".join(f"{name} {value}" for name, value in published_list.source.items())
    return (
        f"{len(published_list.items)} items for {published_list.user_id}, "
        f"made {computed_time:%Y-%m-%d %H:%M:%S} UTC {CAUSE_TEXTS[published_list.cause]}.\n"
        f"The latest event it knows happened {event_time:%Y-%m-%d %H:%M:%S} UTC ({source}).\n"
        f"The model of partition {published_list.model.partition} had learned from "
        f"{published_list.model.updates:,} events.\n"
    )


def _table(published_list: PublishedList) -> Table:
    has_contributions = any(item.contributions for item in published_list.items)
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    for heading in ("item", "score", "why", *(["largest contributions"] if has_contributions else [])):
        table.add_column(heading, justify="right" if heading == "score" else "left", overflow="fold")
    for rank, item in enumerate(published_list.items, start=1):
        contribution_cells = [_top_contributions(item)] if has_contributions else []
        table.add_row(str(rank), item.item_id, f"{item.score:.3f}", describe_reason(item), *contribution_cells)
    return table


def describe_reason(item: ListItem) -> str:
    """Return the reason of an item in words.

    >>> describe_reason(ListItem("i1", 1.0, "together", ("i2", "i3")))
    'goes with i2, i3'
    """
    if item.reason == "together" and item.because:
        return f"goes with {', '.join(item.because)}"
    return REASON_TEXTS.get(item.reason, item.reason)


def _top_contributions(item: ListItem) -> str:
    top_parts = sorted((item.contributions or {}).items(), key=lambda part: (-abs(part[1]), part[0]))[
        :MAX_CONTRIBUTIONS
    ]
    return ", ".join(f"{name.replace('_', ' ')} {value:+.2f}" for name, value in top_parts if value)
