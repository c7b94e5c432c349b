"""`freshflow check`: whether a job would run with these options, without starting it and without changing anything."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from freshflow.cli.options import ConfigFile
from freshflow.cli.shapes import Format, Map, shape
from freshflow.errors import FreshFlowError
from freshflow.io.url import check_distinct
from freshflow.preflight.canary import canary
from freshflow.preflight.endpoints import input_place, output_place
from freshflow.preflight.findings import Finding, bad, good, guarded
from freshflow.preflight.kafka_topic import Topic
from freshflow.preflight.machine import environment, packages, privacy
from freshflow.preflight.machine import metrics_address as address_of_metrics
from freshflow.preflight.recovery_folder import recovery as recovery_folder
from freshflow.streaming.experiment import Variants, load_variants
from freshflow.streaming.job import Places, system_clock

__all__ = ["check"]


def check(
    input: Annotated[str, typer.Option(metavar="URL", help="As of `freshflow run`, like all that follows.")],
    output: Annotated[str, typer.Option(metavar="URL")],
    dead_letters: Annotated[str | None, typer.Option(metavar="URL")] = None,
    metrics: Annotated[str | None, typer.Option(metavar="URL")] = None,
    related: Annotated[str | None, typer.Option(metavar="URL")] = None,
    format: Format = None,
    map: Map = None,
    config: ConfigFile = None,
    variants: Annotated[tuple[Path, Path] | None, typer.Option(metavar="A.toml B.toml")] = None,
    recovery: Annotated[Path | None, typer.Option(metavar="DIR")] = None,
    partitions: Annotated[int | None, typer.Option()] = None,
    processes: Annotated[int, typer.Option(min=1)] = 1,
    batch_size: Annotated[int | None, typer.Option()] = None,
    until_end: Annotated[bool, typer.Option("--until-end")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only what is to be done.")] = False,
    metrics_address: Annotated[str | None, typer.Option(metavar="HOST:PORT")] = None,
    log_format: Annotated[str | None, typer.Option(metavar="text|json")] = None,
) -> None:
    """Say whether `freshflow run` with the same options would work, a line each; exit code 1 if it would not.

    Nothing is changed: no topic is created, no record written, no file emptied.
    """
    overrides: dict[str, dict[str, Any]] = {
        "job": {"partitions": partitions, "batch_size": batch_size},
        "events": shape(format, map),
        "metrics": {"address": metrics_address},
        "log": {"format": log_format},
    }
    places = Places(input, output, dead_letters, metrics, until_end, related)
    try:
        split = load_variants(variants, config, os.environ, overrides, defaults={"job": {"partitions": processes}})
    except FreshFlowError as error:
        found: Iterator[Finding] = iter([bad("configuration", str(error))])
    else:
        found = _looked(places, split, recovery, processes)
    fails = False
    for finding in found:
        fails |= not finding.is_ok
        if not (quiet and finding.is_ok):
            typer.echo(f"{'ok  ' if finding.is_ok else 'FAIL'} {finding.what:<14} {finding.says}")
    if fails:
        raise typer.Exit(1)


def _looked(places: Places, split: Variants, recovery: Path | None, processes: int) -> Iterator[Finding]:
    config, resumes = split.configs[0], recovery is not None
    yield from guarded("configuration", partial(_options, places, split, processes))
    yield from packages()
    yield from environment(os.environ)
    yield from privacy(config)
    yield from address_of_metrics(config)
    yield from guarded("input", partial(input_place, places, config, processes, system_clock))
    outputs = {
        "output": (places.output, Topic.LISTS),
        "dead letters": (places.dead_letter_place(), Topic.DEAD_LETTERS),
        "reports": (places.metrics, Topic.METRICS),
        "related items": (places.related, Topic.RELATED),
    }
    for what, (url, kind) in outputs.items():
        yield from guarded(what, partial(output_place, what, url, kind, config, resumes, system_clock))
    yield from guarded("recovery", partial(recovery_folder, recovery, split))
    for one in split.configs:
        yield from guarded("canary", partial(canary, one, system_clock))


def _options(places: Places, split: Variants, processes: int) -> Iterator[Finding]:
    check_distinct(
        {
            "--input": places.input,
            "--output": places.output,
            "--dead-letters": places.dead_letter_place(),
            "--metrics": places.metrics,
            "--related": places.related,
        }
    )
    if processes > split.partitions:
        yield bad("configuration", f"--processes {processes} needs as many partitions: give --partitions {processes}.")
    else:
        of = f" of the variants {' and '.join(split.names)}" if len(split.configs) > 1 else ""
        yield good("configuration", f"can be read; {split.partitions} partitions{of}, {processes} processes")
