"""Command `freshflow check`: verifies the options, inputs and outputs of a job without starting it."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from freshflow.cli.options import ConfigFile
from freshflow.cli.shapes import FormatOption, MapOption, event_overrides
from freshflow.errors import FreshFlowError
from freshflow.io.findings import Finding, failed, passed, run_guarded
from freshflow.io.registry import check_distinct
from freshflow.io.scheme import CheckOptions, StreamRole
from freshflow.preflight.canary import check_canary
from freshflow.preflight.endpoints import check_input, check_output
from freshflow.preflight.machine import check_environment, check_metrics_address, check_packages, check_privacy_key
from freshflow.preflight.recovery_folder import check_recovery_folder
from freshflow.streaming.experiment import Variants, load_variants
from freshflow.streaming.job import JobUrls, system_clock


def check(
    input: Annotated[str, typer.Option(metavar="URL", help="As for `freshflow run`, like all options below.")],
    output: Annotated[str, typer.Option(metavar="URL")],
    dead_letters: Annotated[str | None, typer.Option(metavar="URL")] = None,
    metrics: Annotated[str | None, typer.Option(metavar="URL")] = None,
    related: Annotated[str | None, typer.Option(metavar="URL")] = None,
    format: FormatOption = None,
    map: MapOption = None,
    config: ConfigFile = None,
    variants: Annotated[tuple[Path, Path] | None, typer.Option(metavar="A.toml B.toml")] = None,
    recovery: Annotated[Path | None, typer.Option(metavar="DIR")] = None,
    partitions: Annotated[int | None, typer.Option()] = None,
    processes: Annotated[int, typer.Option(min=1)] = 1,
    batch_size: Annotated[int | None, typer.Option()] = None,
    until_end: Annotated[bool, typer.Option("--until-end")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the failed checks.")] = False,
    metrics_address: Annotated[str | None, typer.Option(metavar="HOST:PORT")] = None,
    log_format: Annotated[str | None, typer.Option(metavar="text|json")] = None,
) -> None:
    """Check `freshflow run` with the same options, one line per check; exit code 1 if a check fails.

    Changes nothing: no topic is created, no record written, no file emptied.
    """
    overrides: dict[str, dict[str, Any]] = {
        "job": {"partitions": partitions, "batch_size": batch_size},
        "events": event_overrides(format, map),
        "metrics": {"address": metrics_address},
        "log": {"format": log_format},
    }
    urls = JobUrls(input, output, dead_letters, metrics, until_end, related)
    try:
        experiment = load_variants(variants, config, os.environ, overrides, defaults={"job": {"partitions": processes}})
    except FreshFlowError as error:
        findings: Iterator[Finding] = iter([failed("configuration", str(error))])
    else:
        findings = _collect_findings(urls, experiment, recovery, processes)
    has_failed = False
    for finding in findings:
        has_failed |= not finding.is_ok
        if not (quiet and finding.is_ok):
            typer.echo(f"{'ok  ' if finding.is_ok else 'FAIL'} {finding.subject:<14} {finding.message}")
    if has_failed:
        raise typer.Exit(1)


def _collect_findings(urls: JobUrls, experiment: Variants, recovery: Path | None, processes: int) -> Iterator[Finding]:
    config, is_resuming = experiment.configs[0], recovery is not None
    yield from run_guarded("configuration", partial(_check_options, urls, experiment, processes))
    yield from check_packages()
    yield from check_environment(os.environ)
    yield from check_privacy_key(config)
    yield from check_metrics_address(config)
    yield from run_guarded("input", partial(check_input, urls.input, config, processes, system_clock))
    outputs = {
        "output": (urls.output, StreamRole.LISTS),
        "dead letters": (urls.dead_letter_url(), StreamRole.DEAD_LETTERS),
        "reports": (urls.metrics, StreamRole.METRICS),
        "related items": (urls.related, StreamRole.RELATED),
    }
    for label, (url, role) in outputs.items():
        options = CheckOptions(subject=label, role=role, clock=system_clock, is_resumed=is_resuming)
        yield from run_guarded(label, partial(check_output, url, config, options))
    yield from run_guarded("recovery", partial(check_recovery_folder, recovery, experiment))
    for variant_config in experiment.configs:
        yield from run_guarded("canary", partial(check_canary, variant_config, system_clock))


def _check_options(urls: JobUrls, experiment: Variants, processes: int) -> Iterator[Finding]:
    check_distinct(
        {
            "--input": urls.input,
            "--output": urls.output,
            "--dead-letters": urls.dead_letter_url(),
            "--metrics": urls.metrics,
            "--related": urls.related,
        }
    )
    if processes > experiment.n_partitions:
        yield failed(
            "configuration", f"--processes {processes} needs as many partitions: give --partitions {processes}."
        )
    else:
        variants_note = f" of the variants {' and '.join(experiment.names)}" if len(experiment.configs) > 1 else ""
        yield passed(
            "configuration", f"can be read; {experiment.n_partitions} partitions{variants_note}, {processes} processes"
        )
