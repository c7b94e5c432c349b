"""The options that say what shape events have, which `run` and `evaluate` share."""

from typing import Annotated

import typer

from freshflow.errors import ConfigError

__all__ = ["FormatOption", "MapOption", "event_overrides"]

FormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Shape of the events: ga4, segment, otto, ...; freshflow/docs/reference/formats.md. [auto]"
    ),
]
MapOption = Annotated[
    str | None,
    typer.Option(metavar="OURS=THEIRS,...", help="Where fields stand: user_id=visitor.id,type==view (=text: itself)."),
]


def event_overrides(format_name: str | None, field_map: str | None) -> dict[str, object]:
    """What the options set in the section `events`. Raises `ConfigError` where a part of --map is no pair."""
    pairs = [pair.partition("=") for pair in field_map.split(",")] if field_map else []
    for field_name, separator, source_path in pairs:
        if not (field_name.strip() and separator and source_path.strip()):
            pair_text = field_name + separator + source_path
            raise ConfigError(
                f"--map: {pair_text!r} is no pair: give our field = where it stands, as user_id=visitor.id."
            )
    return {
        "format": format_name,
        "map": {field_name.strip(): source_path.strip() for field_name, _, source_path in pairs} or None,
    }
