"""`freshflow schema`: the JSON Schema of what comes in, what goes out, or the configuration."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from freshflow.cli.reference.json_schemas import SCHEMAS, build_schema
from freshflow.config.loader import load_config
from freshflow.errors import ConfigError

__all__ = ["schema", "format_schema"]

SCHEMA_NAMES = ", ".join(SCHEMAS)


def schema(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Of what: {SCHEMA_NAMES}.")],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The job's TOML file: it says which events are known.")
    ] = None,
) -> None:
    """Print a JSON Schema (2020-12), to validate records with or to generate code from."""
    if name not in SCHEMAS:
        raise ConfigError(f"There is no schema of {name!r}; there are {SCHEMA_NAMES}.")
    typer.echo(format_schema(build_schema(name, load_config(config, os.environ))))


def format_schema(schema: object) -> str:
    """A schema as text."""
    return json.dumps(schema, indent=2, ensure_ascii=False)
