"""`freshflow schema`: the JSON Schema of what comes in, what goes out, or the configuration."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from freshflow.cli.reference.json_schemas import SCHEMAS
from freshflow.cli.reference.json_schemas import schema as schema_of
from freshflow.config.schema import load_config
from freshflow.errors import ConfigError

__all__ = ["schema", "written"]

NAMES = ", ".join(SCHEMAS)


def schema(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Of what: {NAMES}.")],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The job's TOML file: it says which events are known.")
    ] = None,
) -> None:
    """Print a JSON Schema (2020-12), to validate records with or to generate code from."""
    if name not in SCHEMAS:
        raise ConfigError(f"There is no schema of {name!r}; there are {NAMES}.")
    typer.echo(written(schema_of(name, load_config(config, os.environ))))


def written(schema: object) -> str:
    """A schema as text."""
    return json.dumps(schema, indent=2, ensure_ascii=False)
