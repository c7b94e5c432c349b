"""Options shared by commands."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The job's TOML file; see freshflow/docs/freshflow.example.toml."),
]
