"""Options of the event format, shared by `run`, `check` and `evaluate`."""

from typing import Annotated

import typer

from freshflow.errors import ConfigError

FormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Format of the events: ga4, segment, otto, ...; freshflow/docs/reference/formats.md. [auto]",
    ),
]
MapOption = Annotated[
    str | None,
    typer.Option(metavar="OURS=THEIRS,...", help="Paths of fields: user_id=visitor.id,type==view (=text: a constant)."),
]


def event_overrides(format_name: str | None, field_map: str | None) -> dict[str, object]:
    """Return the settings of the options in the section `events`.

    Raises:
        ConfigError: If a part of --map is not a pair.
    """
    pairs = [pair.partition("=") for pair in field_map.split(",")] if field_map else []
    for field_name, separator, source_path in pairs:
        if not (field_name.strip() and separator and source_path.strip()):
            pair_text = field_name + separator + source_path
            raise ConfigError(f"--map: {pair_text!r} is not a pair: give field=path, as in user_id=visitor.id.")
    return {
        "format": format_name,
        "map": {field_name.strip(): source_path.strip() for field_name, _, source_path in pairs} or None,
    }
