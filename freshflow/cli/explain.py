"""`freshflow explain`: a user's latest list, and why each item is on it, as a person would want to read it."""

import os
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from freshflow.cli.options import ConfigFile
from freshflow.config.schema import load_config
from freshflow.errors import InputError
from freshflow.io.lookup import latest_list
from freshflow.outputs.records import ListItem, PublishedList

__all__ = ["explain"]

MOST = 3  # contributions told of an item

CAUSES = {
    "interaction": "because of what the user did",
    "request": "because it was asked for",
    "search": "as the answer to a search",
    "identify": "because it became known who a guest is",
    "refresh": "because the world has changed since the user last did something",
}
REASONS = {
    "again": "the user came back to it before",
    "popular": "popular right now",
    "searched": "chosen by others after this search",
    "engine": "where the search engine had it",
    "unknown": "found by the search engine; nobody has touched it yet",
    "new": "new, and nobody has touched it yet",
    "similar": "resembles what the user looked at",
    "pinned": "pinned to its place",
    "fresh": "new: a share of the list is kept for new items",
    "explore": "young: tried, to learn what it is worth",
    "together": "goes with what the user looked at",
}


def explain(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose list.")],
    lists: Annotated[
        str, typer.Option("--lists", metavar="URL", help="What the job wrote: a path or kafka://…/topic.")
    ],
    config: ConfigFile = None,
) -> None:
    """Print a user's latest list with the reason for every item.

    With `lists.contributions = true` the job also writes what each feature added to a score; the largest are shown.
    """
    found = latest_list(lists, user, load_config(config, os.environ))
    if found is None:
        raise InputError(f"There is no list of {user} in {lists}: they have done nothing yet, or were forgotten.")
    try:
        told = msgspec.json.decode(found, type=PublishedList)
    except msgspec.MsgspecError as error:
        raise InputError(f"What {lists} holds of {user} is no list ({error}); name what a job has written.") from None
    console = Console()
    console.print(_headline(told), highlight=False, markup=False, soft_wrap=True)
    console.print(_table(told))


def _headline(told: PublishedList) -> str:
    made, event = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (told.computed_at, told.event_ts))
    source = " ".join(f"{name} {value}" for name, value in told.source.items())
    return (
        f"{len(told.items)} items for {told.user_id}, made {made:%Y-%m-%d %H:%M:%S} UTC {CAUSES[told.cause]}.\n"
        f"The latest event it knows happened {event:%Y-%m-%d %H:%M:%S} UTC ({source}).\n"
        f"The model of partition {told.model.partition} had learned from {told.model.updates:,} events.\n"
    )


def _table(told: PublishedList) -> Table:
    explained = any(item.contributions for item in told.items)
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    for heading in ("item", "score", "why", *(["what counted most"] if explained else [])):
        table.add_column(heading, justify="right" if heading == "score" else "left", overflow="fold")
    for rank, item in enumerate(told.items, start=1):
        most = [_most(item)] if explained else []
        table.add_row(str(rank), item.item_id, f"{item.score:.3f}", why(item), *most)
    return table


def why(item: ListItem) -> str:
    """The reason of an item in words.

    >>> why(ListItem("i1", 1.0, "together", ("i2", "i3")))
    'goes with i2, i3'
    """
    if item.reason == "together" and item.because:
        return f"goes with {', '.join(item.because)}"
    return REASONS.get(item.reason, item.reason)


def _most(item: ListItem) -> str:
    largest = sorted((item.contributions or {}).items(), key=lambda part: (-abs(part[1]), part[0]))[:MOST]
    return ", ".join(f"{name.replace('_', ' ')} {value:+.2f}" for name, value in largest if value)
