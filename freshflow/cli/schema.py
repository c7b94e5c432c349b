"""Command `freshflow schema`: prints the JSON Schema of an input, an output or the configuration."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from freshflow.cli.reference.json_schemas import SCHEMAS, build_schema
from freshflow.config.loader import load_config
from freshflow.errors import ConfigError

SCHEMA_NAMES = ", ".join(SCHEMAS)


def schema(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"The schema: {SCHEMA_NAMES}.")],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The job's TOML file; it defines the event types.")
    ] = None,
) -> None:
    """Print a JSON Schema (2020-12), to validate records with or to generate code from."""
    if name not in SCHEMAS:
        raise ConfigError(f"There is no schema of {name!r}; there are {SCHEMA_NAMES}.")
    typer.echo(format_schema(build_schema(name, load_config(config, os.environ))))


def format_schema(schema: object) -> str:
    """Format a schema as indented JSON."""
    return json.dumps(schema, indent=2, ensure_ascii=False)
