"""The options that say what shape events have, which `run` and `evaluate` share."""

from typing import Annotated

import typer

from freshflow.errors import ConfigError

__all__ = ["Format", "Map", "shape"]

Format = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Shape of the events: ga4, segment, otto, ...; freshflow/docs/formats.md. [auto]"
    ),
]
Map = Annotated[
    str | None,
    typer.Option(metavar="OURS=THEIRS,...", help="Where fields stand: user_id=visitor.id,type==view (=text: itself)."),
]


def shape(format: str | None, map: str | None) -> dict[str, object]:
    """What the options set in the section `events`. Raises `ConfigError` where a part of --map is no pair."""
    pairs = [pair.partition("=") for pair in map.split(",")] if map else []
    for ours, separator, theirs in pairs:
        if not (ours.strip() and separator and theirs.strip()):
            given = ours + separator + theirs
            raise ConfigError(f"--map: {given!r} is no pair: give our field = where it stands, as user_id=visitor.id.")
    return {"format": format, "map": {ours.strip(): theirs.strip() for ours, _, theirs in pairs} or None}
