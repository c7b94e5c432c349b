"""A job: where it reads and writes, put together with the graph, and run by Bytewax."""

import signal
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import msgspec
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from freshflow.config.schema import Config
from freshflow.engine.warm_up import warm_up
from freshflow.errors import ConfigError, FreshFlowError
from freshflow.io.kafka import KafkaSink, KafkaSource
from freshflow.io.kafka.source import ReportLag
from freshflow.io.registry import open_sink, open_source, truncate_output
from freshflow.io.url import check_distinct, is_kafka, is_unbounded, sibling_path
from freshflow.ranking.ranker import load_model_factory
from freshflow.state.backend import StateBackend
from freshflow.state.recovery_store import open_recovery_store, translate_store_errors
from freshflow.streaming.experiment import Variants, load_variants
from freshflow.streaming.observed import FailureRecorder
from freshflow.streaming.graph import Endpoints, build_flow
from freshflow.streaming.monitoring.progress import JobStats
from freshflow.streaming.monitoring.prometheus import serve_job_metrics

__all__ = [
    "Peers",
    "JobUrls",
    "StopFlag",
    "assemble",
    "build",
    "flow_from_environment",
    "prepare",
    "run_flow",
    "system_clock",
]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A Kafka record holds a megabyte by default; what is kept of a rejected one must fit with its reason.
MAX_KAFKA_DEAD_LETTER_BYTES = 1_000_000


class JobUrls(msgspec.Struct, frozen=True):
    """URLs of a job. Rejected records go beside an output file where `dead_letters` says nothing else."""

    input: str
    output: str
    dead_letters: str | None = None
    metrics: str | None = None
    until_end: bool = False
    related: str | None = None

    def dead_letter_url(self) -> str | None:
        """Where rejected records go; None means they are logged."""
        return self.dead_letters or sibling_path(self.output, "dead-letters")


class Peers(NamedTuple):
    """The processes of a cluster: the addresses of all, and which of them is this one, from 0."""

    addresses: list[str]
    process_index: int


class StopFlag:
    """Set by SIGTERM and SIGINT: sources end, everything in flight is written, a last snapshot is taken."""

    def __init__(self) -> None:
        self.is_set = False

    def install(self) -> None:
        """Take over both signals; a second one ends the process at once, as usual."""
        for signum in STOP_SIGNALS:
            signal.signal(signum, self._set)

    def ignore_signals(self) -> None:
        """The job has ended: signals that come while the process does change nothing, least of all its exit code."""
        for signum in STOP_SIGNALS:
            signal.signal(signum, signal.SIG_IGN)

    def _set(self, signum: int, frame: FrameType | None) -> None:
        self.is_set = True
        signal.signal(signum, signal.SIG_DFL)

    def __call__(self) -> bool:
        """Whether the job should stop."""
        return self.is_set


def system_clock() -> int:
    """Epoch milliseconds."""
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
    """The dataflow of a job in one process: `prepare`, then `build`."""
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
    """What is done once before a job, however many processes it has: check it, and empty its files if it starts anew.

    Raises a `FreshFlowError` if a place or the ranker's model cannot be used.
    """
    urls_by_option = {
        "--input": job_urls.input,
        "--output": job_urls.output,
        "--dead-letters": job_urls.dead_letter_url(),
        "--metrics": job_urls.metrics,
        "--related": job_urls.related,
    }
    check_distinct(urls_by_option)
    endpoints = _open_endpoints(job_urls, config, system_clock, lambda: False)
    for variant_config in (variants or Variants([config])).configs:
        load_model_factory(variant_config.ranker.model)
    if is_resuming:
        return
    for endpoint in msgspec.structs.astuple(endpoints):
        if isinstance(endpoint, KafkaSource | KafkaSink):
            endpoint.list_parts()  # asks the broker, before any file is emptied for a job that cannot run
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
    """The dataflow of a job that is prepared, for one process of it. Raises a `FreshFlowError` as `prepare` does.

    With `variants`, `config` is the first one's.
    """
    for variant_config in (variants or Variants([config])).configs:
        warm_up(variant_config, related=job_urls.related is not None)  # takes seconds, for which no event should wait
    endpoints = _open_endpoints(
        job_urls, config, clock, should_stop, is_resuming=state_backend.has_snapshots, record_lag=job_stats.record_lag
    )
    live = is_unbounded(job_urls.input) and not job_urls.until_end
    return build_flow(
        *(config, endpoints, clock, job_stats),
        failures=failures,
        state_backend=state_backend,
        live=live,
        variants=variants,
    )


def _open_endpoints(
    job_urls: JobUrls,
    config: Config,
    clock: Callable[[], int],
    should_stop: Callable[[], bool],
    *,
    is_resuming: bool = False,
    record_lag: ReportLag = lambda partition, records: None,
) -> Endpoints:
    dead_letter_url = job_urls.dead_letter_url()
    until_end = job_urls.until_end
    return Endpoints(
        source=open_source(
            job_urls.input,
            config,
            clock,
            should_stop,
            until_end=until_end,
            is_resumed=is_resuming,
            report_lag=record_lag,
        ),
        recommendations=open_sink(job_urls.output, config),
        dead_letters=open_sink(dead_letter_url, config) if dead_letter_url else None,
        metrics=open_sink(job_urls.metrics, config) if job_urls.metrics else None,
        related=open_sink(job_urls.related, config) if job_urls.related else None,
        max_dead_letter_bytes=MAX_KAFKA_DEAD_LETTER_BYTES if dead_letter_url and is_kafka(dead_letter_url) else None,
    )


def run_flow(flow: Dataflow, config: Config, recovery: Path | None, peers: Peers | None = None) -> None:
    """Run a dataflow in this process until its input ends; with recovery, go on where the folder says.

    With `peers` it is one of several processes, and what fails is in its `FailureRecorder`, not in what this raises.
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
    """The dataflow for `python -m bytewax.run`: FRESHFLOW_INPUT, _OUTPUT, _DEAD_LETTERS, _METRICS, _RELATED, _CONFIG

    FRESHFLOW_VARIANTS names the files of variants, with a colon between them. Ends the process with one sentence if a
    place or a setting cannot be used.
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
