"""Command `freshflow run`: runs the job over a file or a topic, with a progress line and a summary table."""

import os
from contextlib import nullcontext
from logging import getLogger
from pathlib import Path
from typing import Annotated, Any

import typer

from freshflow.cli.comparison import print_comparison
from freshflow.cli.options import ConfigFile
from freshflow.cli.progress import print_summary, show_progress
from freshflow.cli.shapes import FormatOption, MapOption, event_overrides
from freshflow.cluster.protocol import JobSpec
from freshflow.cluster.supervisor import count_idle_processes, run_cluster
from freshflow.errors import ConfigError
from freshflow.state.offset_publisher import publish_offsets
from freshflow.state.recovery_store import lock_recovery_dir, open_state_backend
from freshflow.streaming.experiment import Variants, load_variants
from freshflow.streaming.job import JobUrls, StopFlag, build, prepare, run_flow
from freshflow.streaming.monitoring.logging import configure_logging
from freshflow.streaming.monitoring.progress import JobStats
from freshflow.streaming.monitoring.prometheus import serve_job_metrics
from freshflow.streaming.observed import FailureRecorder

_logger = getLogger("freshflow")


InputOption = Annotated[
    str,
    typer.Option(metavar="URL", help="Events: a path (.jsonl, .csv, also .gz), - or kafka://host:port/topic."),
]
OutputOption = Annotated[
    str,
    typer.Option(metavar="URL", help="Lists: a path (.jsonl, .jsonl.gz), - or kafka://host:port/topic."),
]
DeadLettersOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Rejected records; by default beside an output file, else logged."),
]
MetricsOption = Annotated[str | None, typer.Option(metavar="URL", help="Reports of each partition on itself.")]
RelatedOption = Annotated[str | None, typer.Option(metavar="URL", help="Related items of each item, as they change.")]
VariantsOption = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        metavar="A.toml B.toml",
        help="Split users between two configurations, each over --config, and compare these; see "
        "freshflow/docs/how-to/variants.md.",
    ),
]
RecoveryOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Resume from here, and keep snapshots here.")]
PartitionsOption = Annotated[
    int | None,
    typer.Option(
        help="Partitions of users, each with a model of its own; at least --processes, and constant for a "
        "--recovery folder. If not given, as many as processes."
    ),
]
ProcessesOption = Annotated[
    int,
    typer.Option(min=1, help="Processes on this machine; 1, 2, 4, 8, … share partitions evenly."),
]
BatchSizeOption = Annotated[int | None, typer.Option(help="Greatest number of records read at once. [256]")]
UntilEndOption = Annotated[bool, typer.Option("--until-end", help="Stop where a topic ended when the job started.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress line and no table.")]
MetricsAddressOption = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Answer Prometheus here, e.g. 127.0.0.1:9464. [nowhere]")
]
LogFormatOption = Annotated[str | None, typer.Option(metavar="text|json", help="Format of the log. [text]")]


def run(
    input: InputOption,
    output: OutputOption,
    dead_letters: DeadLettersOption = None,
    metrics: MetricsOption = None,
    related: RelatedOption = None,
    format: FormatOption = None,
    map: MapOption = None,
    config: ConfigFile = None,
    variants: VariantsOption = None,
    recovery: RecoveryOption = None,
    partitions: PartitionsOption = None,
    processes: ProcessesOption = 1,
    batch_size: BatchSizeOption = None,
    until_end: UntilEndOption = False,
    quiet: QuietOption = False,
    metrics_address: MetricsAddressOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Read events, keep every user's list fresh, and write the lists."""
    overrides: dict[str, dict[str, Any]] = {
        "job": {"partitions": partitions, "batch_size": batch_size},
        "events": event_overrides(format, map),
        "metrics": {"address": metrics_address},
        "log": {"format": log_format},
    }
    experiment = load_variants(variants, config, os.environ, overrides, defaults={"job": {"partitions": processes}})
    settings = experiment.configs[0]
    configure_logging(settings.log)
    _check_processes(processes, experiment.n_partitions)
    urls = JobUrls(input, output, dead_letters, metrics, until_end, related)
    stats = JobStats()
    if settings.metrics.address:
        serve_job_metrics(stats, experiment)
    _run_job(urls, experiment, recovery, processes, stats, quiet=quiet)
    if not quiet:
        print_summary(stats, urls)
        print_comparison(stats.reports.values())


def _run_job(
    urls: JobUrls, experiment: Variants, recovery: Path | None, processes: int, stats: JobStats, *, quiet: bool
) -> None:
    """Run the job in this process or in several, until its input or a signal ends it."""
    settings, stop_flag = experiment.configs[0], StopFlag()
    prepare(urls, settings, is_resuming=recovery is not None, variants=experiment)
    with lock_recovery_dir(recovery, experiment.split_settings()) if recovery is not None else nullcontext() as lock:
        if processes == 1:
            state_backend = open_state_backend(recovery)
            flow = build(
                urls, settings, stats, stop_flag, FailureRecorder(), state_backend=state_backend, variants=experiment
            )
            stop_flag.install()
            with show_progress(stats, quiet=quiet), publish_offsets(urls.input, settings, recovery):
                run_flow(flow, settings, recovery)
        else:
            stop_flag.install()
            job = JobSpec(urls, settings, str(recovery) if recovery is not None else None, experiment)
            with show_progress(stats, quiet=quiet), publish_offsets(urls.input, settings, recovery):
                run_cluster(job, processes, stats, stop_flag, lock)
        stop_flag.ignore_signals()


def _check_processes(processes: int, partitions: int) -> None:
    """Refuse more processes than partitions, and warn if a process gets no partition."""
    if processes > partitions:
        raise ConfigError(
            f"--processes {processes} needs at least as many partitions, and job.partitions = {partitions}: "
            "give fewer processes, or start anew with more --partitions."
        )
    n_idle = count_idle_processes(partitions, processes)
    if n_idle:
        _logger.warning(
            "%d of the %d processes will have no users; with 1, 2, 4, 8, ... processes none would be left out.",
            n_idle,
            processes,
        )
