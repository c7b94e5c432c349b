"""A job: its inputs and outputs, assembled with the graph and run by Bytewax."""

import signal
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource
from bytewax.outputs import FixedPartitionedSink
from bytewax.run import cli_main

from freshflow.config.schema import Config
from freshflow.engine.warm_up import warm_up
from freshflow.errors import ConfigError, FreshFlowError
from freshflow.io.registry import (
    check_distinct,
    is_live,
    max_dead_letter_bytes,
    open_sink,
    open_source,
    sibling_url,
    truncate_output,
)
from freshflow.io.scheme import SourceOptions
from freshflow.ranking.ranker import load_model_factory
from freshflow.state.backend import StateBackend
from freshflow.state.recovery_store import open_recovery_store, translate_store_errors
from freshflow.streaming.experiment import Variants, load_variants
from freshflow.streaming.graph import Endpoints, build_flow
from freshflow.streaming.monitoring.progress import JobStats
from freshflow.streaming.monitoring.prometheus import serve_job_metrics
from freshflow.streaming.observed import FailureRecorder

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class JobUrls(msgspec.Struct, frozen=True):
    """URLs of a job. Without `dead_letters`, rejected records are written beside an output file."""

    input: str
    output: str
    dead_letters: str | None = None
    metrics: str | None = None
    until_end: bool = False
    related: str | None = None

    def dead_letter_url(self) -> str | None:
        """Return the URL of rejected records; None means they are logged."""
        return self.dead_letters or sibling_url(self.output, "dead-letters")


class Peers(NamedTuple):
    """The addresses of a cluster's processes, and the index of this one, from 0."""

    addresses: list[str]
    process_index: int


class StopFlag:
    """Flag set by SIGTERM and SIGINT: sources end, everything in flight is written, a last snapshot is taken."""

    def __init__(self) -> None:
        self.is_set = False

    def install(self) -> None:
        """Handle both signals; a second one ends the process at once."""
        for signum in STOP_SIGNALS:
            signal.signal(signum, self._set)

    def ignore_signals(self) -> None:
        """Ignore further signals, so that one during the end of the process does not change its exit code."""
        for signum in STOP_SIGNALS:
            signal.signal(signum, signal.SIG_IGN)

    def _set(self, signum: int, frame: FrameType | None) -> None:
        self.is_set = True
        signal.signal(signum, signal.SIG_DFL)

    def __call__(self) -> bool:
        """Return whether the job should stop."""
        return self.is_set


def system_clock() -> int:
    """Return the time in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def assemble(
    job_urls: JobUrls,
    config: Config,
    job_stats: JobStats,
    should_stop: Callable[[], bool],
    *,
    clock: Callable[[], int] = system_clock,
    state_backend: StateBackend,
    variants: Variants | None = None,
) -> Dataflow:
    """Prepare and build a job in one process.

    Args:
        job_urls: Inputs and outputs.
        config: The configuration; with variants, the first one's.
        job_stats: Statistics to update.
        should_stop: Once it returns true, the sources end.
        clock: Processing time in epoch milliseconds.
        state_backend: Store of the keyed states.
        variants: Configurations between which users are split.

    Returns:
        The dataflow.

    Raises:
        FreshFlowError: An input, an output or the ranker's model cannot be used.
    """
    prepare(job_urls, config, is_resuming=state_backend.is_enabled, variants=variants)
    return build(
        job_urls,
        config,
        job_stats,
        should_stop,
        FailureRecorder(),
        clock=clock,
        state_backend=state_backend,
        variants=variants,
    )


def prepare(job_urls: JobUrls, config: Config, *, is_resuming: bool, variants: Variants | None = None) -> None:
    """Check a job, once for all its processes, and empty its output files if it does not resume.

    Args:
        job_urls: Inputs and outputs.
        config: The configuration; with variants, the first one's.
        is_resuming: The job continues from snapshots, so its output files are kept.
        variants: Configurations between which users are split.

    Raises:
        FreshFlowError: An input, an output or the ranker's model cannot be used.
    """
    urls_by_option = {
        "--input": job_urls.input,
        "--output": job_urls.output,
        "--dead-letters": job_urls.dead_letter_url(),
        "--metrics": job_urls.metrics,
        "--related": job_urls.related,
    }
    check_distinct(urls_by_option)
    endpoints = _open_endpoints(job_urls, config, SourceOptions(clock=system_clock, should_stop=lambda: False))
    for variant_config in (variants or Variants([config])).configs:
        load_model_factory(variant_config.ranker.model)
    if is_resuming:
        return
    for endpoint in msgspec.structs.astuple(endpoints):
        if isinstance(endpoint, FixedPartitionedSource | FixedPartitionedSink):
            endpoint.list_parts()  # asks a broker before any file is emptied for a job that cannot run
    for option, url in urls_by_option.items():
        if url is not None and option != "--input":
            truncate_output(url)


def build(
    job_urls: JobUrls,
    config: Config,
    job_stats: JobStats,
    should_stop: Callable[[], bool],
    failures: FailureRecorder,
    *,
    clock: Callable[[], int] = system_clock,
    state_backend: StateBackend,
    variants: Variants | None = None,
) -> Dataflow:
    """Build the dataflow of a prepared job for one of its processes.

    Args:
        job_urls: Inputs and outputs.
        config: The configuration; with variants, the first one's.
        job_stats: Statistics to update.
        should_stop: Once it returns true, the sources end.
        failures: Recorder of the process's first failure.
        clock: Processing time in epoch milliseconds.
        state_backend: Store of the keyed states.
        variants: Configurations between which users are split.

    Returns:
        The dataflow.

    Raises:
        FreshFlowError: An input, an output or the ranker's model cannot be used.
    """
    for variant_config in (variants or Variants([config])).configs:
        warm_up(variant_config, related=job_urls.related is not None)  # takes seconds, so before the first event
    source_options = SourceOptions(
        clock=clock,
        should_stop=should_stop,
        until_end=job_urls.until_end,
        is_resumed=state_backend.has_snapshots,
        report_lag=job_stats.record_lag,
    )
    endpoints = _open_endpoints(job_urls, config, source_options)
    live = is_live(job_urls.input) and not job_urls.until_end
    return build_flow(
        *(config, endpoints, clock, job_stats),
        failures=failures,
        state_backend=state_backend,
        live=live,
        variants=variants,
    )


def _open_endpoints(job_urls: JobUrls, config: Config, source_options: SourceOptions) -> Endpoints:
    dead_letter_url = job_urls.dead_letter_url()
    return Endpoints(
        source=open_source(job_urls.input, config, source_options),
        recommendations=open_sink(job_urls.output, config),
        dead_letters=open_sink(dead_letter_url, config) if dead_letter_url else None,
        metrics=open_sink(job_urls.metrics, config) if job_urls.metrics else None,
        related=open_sink(job_urls.related, config) if job_urls.related else None,
        max_dead_letter_bytes=max_dead_letter_bytes(dead_letter_url) if dead_letter_url else None,
    )


def run_flow(flow: Dataflow, config: Config, recovery: Path | None, peers: Peers | None = None) -> None:
    """Run a dataflow in this process until its input ends.

    Args:
        flow: The dataflow.
        config: The configuration of the job.
        recovery: The folder of snapshots to continue from and to write to.
        peers: The processes of the cluster, of which this is one. A failure is then in its `FailureRecorder`, not in
            the exception raised here.
    """
    addresses, process_index = peers or (None, None)
    epoch_interval = timedelta(seconds=config.job.epoch_s)
    recovery_config = open_recovery_store(recovery) if recovery else None
    with translate_store_errors(recovery):
        cli_main(
            flow,
            process_id=process_index,
            addresses=addresses,
            epoch_interval=epoch_interval,
            recovery_config=recovery_config,
        )


def flow_from_environment(
    environment: Mapping[str, str], default_input: str | None = None, default_output: str | None = None
) -> Dataflow:
    """Build the dataflow for `python -m bytewax.run` from environment variables.

    Args:
        environment: FRESHFLOW_INPUT, _OUTPUT, _DEAD_LETTERS, _METRICS, _RELATED, _UNTIL_END, _CONFIG, and
            FRESHFLOW_VARIANTS, the files of variants separated by colons.
        default_input: The input without FRESHFLOW_INPUT.
        default_output: The output without FRESHFLOW_OUTPUT.

    Returns:
        The dataflow.

    Raises:
        SystemExit: With one sentence, if a URL or a setting cannot be used.
    """
    try:
        job_urls = JobUrls(
            input=_required_url(environment, "FRESHFLOW_INPUT", default_input),
            output=_required_url(environment, "FRESHFLOW_OUTPUT", default_output),
            dead_letters=environment.get("FRESHFLOW_DEAD_LETTERS"),
            metrics=environment.get("FRESHFLOW_METRICS"),
            until_end=environment.get("FRESHFLOW_UNTIL_END", "") == "1",
            related=environment.get("FRESHFLOW_RELATED"),
        )
        base_config, variant_files = environment.get("FRESHFLOW_CONFIG"), environment.get("FRESHFLOW_VARIANTS")
        variants = load_variants(
            [Path(f) for f in variant_files.split(":")] if variant_files else None, base_config, environment
        )
        config = variants.configs[0]
        stop_flag = StopFlag()
        stop_flag.install()
        job_stats = JobStats()
        if config.metrics.address:
            serve_job_metrics(job_stats, variants)
        return assemble(
            job_urls, config, job_stats, stop_flag, state_backend=StateBackend(is_enabled=True), variants=variants
        )
    except FreshFlowError as error:
        raise SystemExit(f"freshflow: {error}") from None


def _required_url(environment: Mapping[str, str], name: str, default: str | None) -> str:
    value = environment.get(name, default)
    if value is None:
        raise ConfigError(f"{name} is not set; give it a path, - or kafka://host:port/topic.")
    return value
