"""`freshflow run`: the job over a file or a topic, with a progress line and a table at the end."""

import os
from pathlib import Path
from typing import Annotated

import typer

from freshflow.cli.progress import show_progress, summary
from freshflow.config import load_config
from freshflow.dataflow.job import Places, StopFlag, assemble, run_flow
from freshflow.dataflow.progress import Progress

__all__ = ["run"]


def run(
    input: Annotated[
        str,
        typer.Option(metavar="URL", help="Events: a path (.jsonl, .csv, also .gz), - or kafka://host:port/topic."),
    ],
    output: Annotated[
        str,
        typer.Option(metavar="URL", help="Lists: a path (.jsonl, .jsonl.gz), - or kafka://host:port/topic."),
    ],
    dead_letters: Annotated[
        str | None,
        typer.Option(metavar="URL", help="What is no event; by default beside an output file, else logged."),
    ] = None,
    metrics: Annotated[str | None, typer.Option(metavar="URL", help="Reports of each partition on itself.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file; see freshflow/docs/freshflow.example.toml."),
    ] = None,
    recovery: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Resume from here, and keep snapshots here.")
    ] = None,
    partitions: Annotated[
        int | None, typer.Option(help="Partitions of users, each with a model of its own. [1]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Records read at once at most. [256]")] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop where a topic ended when the job started.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress line and no table.")] = False,
) -> None:
    """Read events, keep every user's list fresh, and write the lists."""
    overrides = {"job": {"partitions": partitions, "batch_size": batch_size}}
    settings = load_config(config, os.environ, overrides)
    places = Places(input, output, dead_letters, metrics, until_end)
    progress, stop = Progress(), StopFlag()
    flow = assemble(places, settings, progress, stop, keep_snapshots=recovery is not None)
    stop.install()
    with show_progress(progress, quiet=quiet):
        run_flow(flow, settings, recovery)
    if not quiet:
        summary(progress, places)
