"""Options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ConfigFile"]

ConfigFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The job's TOML file; see freshflow/docs/freshflow.example.toml."),
]
