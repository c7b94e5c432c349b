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
from freshflow.io.kafka.source import NoteLag
from freshflow.io.registry import open_sink, open_source, start_fresh
from freshflow.io.url import beside, check_distinct, is_kafka, is_live
from freshflow.ranking.ranker import model_factory
from freshflow.state.backend import Keeping
from freshflow.state.recovery_store import open_store, store_errors_as_sentences
from freshflow.streaming.experiment import Variants, load_variants
from freshflow.streaming.failure_recorder import Failures
from freshflow.streaming.graph import Endpoints, build_flow
from freshflow.streaming.monitoring.progress import Progress
from freshflow.streaming.monitoring.prometheus import serve

__all__ = [
    "Peers",
    "Places",
    "StopFlag",
    "assemble",
    "build",
    "flow_from_environment",
    "prepare",
    "run_flow",
    "system_clock",
]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A Kafka record holds a megabyte by default; what is kept of a rejected one must fit with its reason.
KAFKA_DEAD_LETTER_BYTES = 1_000_000


class Places(msgspec.Struct, frozen=True):
    """URLs of a job. Rejected records go beside an output file where `dead_letters` says nothing else."""

    input: str
    output: str
    dead_letters: str | None = None
    metrics: str | None = None
    until_end: bool = False
    related: str | None = None

    def dead_letter_place(self) -> str | None:
        """Where rejected records go; None means they are logged."""
        return self.dead_letters or beside(self.output, "dead-letters")


class Peers(NamedTuple):
    """The processes of a cluster: the addresses of all, and which of them is this one, from 0."""

    addresses: list[str]
    this: int


class StopFlag:
    """Set by SIGTERM and SIGINT: sources end, everything in flight is written, a last snapshot is taken."""

    def __init__(self) -> None:
        self.is_set = False

    def install(self) -> None:
        """Take over both signals; a second one ends the process at once, as usual."""
        for number in SIGNALS:
            signal.signal(number, self._set)

    def release(self) -> None:
        """The job has ended: signals that come while the process does change nothing, least of all its exit code."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
        signal.signal(number, signal.SIG_DFL)

    def __call__(self) -> bool:
        """Whether the job should stop."""
        return self.is_set


def system_clock() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


def assemble(
    places: Places,
    config: Config,
    progress: Progress,
    stop: Callable[[], bool],
    *,
    clock: Callable[[], int] = system_clock,
    keeping: Keeping,
    variants: Variants | None = None,
) -> Dataflow:
    """The dataflow of a job in one process: `prepare`, then `build`."""
    prepare(places, config, resumes=keeping.any, variants=variants)
    return build(places, config, progress, stop, Failures(), clock=clock, keeping=keeping, variants=variants)


def prepare(places: Places, config: Config, *, resumes: bool, variants: Variants | None = None) -> None:
    """What is done once before a job, however many processes it has: check it, and empty its files if it starts anew.

    Raises a `FreshFlowError` if a place or the ranker's model cannot be used.
    """
    urls = {
        "--input": places.input,
        "--output": places.output,
        "--dead-letters": places.dead_letter_place(),
        "--metrics": places.metrics,
        "--related": places.related,
    }
    check_distinct(urls)
    endpoints = _endpoints(places, config, system_clock, lambda: False)
    for one in (variants or Variants([config])).configs:
        model_factory(one.ranker.model)
    if resumes:
        return
    for endpoint in msgspec.structs.astuple(endpoints):
        if isinstance(endpoint, KafkaSource | KafkaSink):
            endpoint.list_parts()  # asks the broker, before any file is emptied for a job that cannot run
    for option, url in urls.items():
        if url is not None and option != "--input":
            start_fresh(url)


def build(
    places: Places,
    config: Config,
    progress: Progress,
    stop: Callable[[], bool],
    failures: Failures,
    *,
    clock: Callable[[], int] = system_clock,
    keeping: Keeping,
    variants: Variants | None = None,
) -> Dataflow:
    """The dataflow of a job that is prepared, for one process of it. Raises a `FreshFlowError` as `prepare` does.

    With `variants`, `config` is the first one's.
    """
    for one in (variants or Variants([config])).configs:
        warm_up(one, related=places.related is not None)  # takes seconds, for which no event should wait
    endpoints = _endpoints(places, config, clock, stop, resumes=keeping.resumes, note_lag=progress.note_lag)
    live = is_live(places.input) and not places.until_end
    return build_flow(
        *(config, endpoints, clock, progress), failures=failures, keeping=keeping, live=live, variants=variants
    )


def _endpoints(
    places: Places,
    config: Config,
    clock: Callable[[], int],
    stop: Callable[[], bool],
    *,
    resumes: bool = False,
    note_lag: NoteLag = lambda partition, records: None,
) -> Endpoints:
    dead_letters = places.dead_letter_place()
    until_end = places.until_end
    return Endpoints(
        source=open_source(places.input, config, clock, stop, until_end=until_end, resumes=resumes, note_lag=note_lag),
        recommendations=open_sink(places.output, config),
        dead_letters=open_sink(dead_letters, config) if dead_letters else None,
        metrics=open_sink(places.metrics, config) if places.metrics else None,
        related=open_sink(places.related, config) if places.related else None,
        dead_letter_raw=KAFKA_DEAD_LETTER_BYTES if dead_letters and is_kafka(dead_letters) else None,
    )


def run_flow(flow: Dataflow, config: Config, recovery: Path | None, peers: Peers | None = None) -> None:
    """Run a dataflow in this process until its input ends; with recovery, go on where the folder says.

    With `peers` it is one of several processes, and what fails is in its `Failures`, not in what this raises.
    """
    addresses, this = peers or (None, None)
    epoch = timedelta(seconds=config.job.epoch_s)
    store = open_store(recovery) if recovery else None
    with store_errors_as_sentences(recovery):
        cli_main(flow, process_id=this, addresses=addresses, epoch_interval=epoch, recovery_config=store)


def flow_from_environment(
    environment: Mapping[str, str], default_input: str | None = None, default_output: str | None = None
) -> Dataflow:
    """The dataflow for `python -m bytewax.run`: FRESHFLOW_INPUT, _OUTPUT, _DEAD_LETTERS, _METRICS, _RELATED, _CONFIG

    FRESHFLOW_VARIANTS names the files of variants, with a colon between them. Ends the process with one sentence if a
    place or a setting cannot be used.
    """
    try:
        places = Places(
            input=_place(environment, "FRESHFLOW_INPUT", default_input),
            output=_place(environment, "FRESHFLOW_OUTPUT", default_output),
            dead_letters=environment.get("FRESHFLOW_DEAD_LETTERS"),
            metrics=environment.get("FRESHFLOW_METRICS"),
            until_end=environment.get("FRESHFLOW_UNTIL_END", "") == "1",
            related=environment.get("FRESHFLOW_RELATED"),
        )
        base, files = environment.get("FRESHFLOW_CONFIG"), environment.get("FRESHFLOW_VARIANTS")
        variants = load_variants([Path(f) for f in files.split(":")] if files else None, base, environment)
        config = variants.configs[0]
        stop = StopFlag()
        stop.install()
        progress = Progress()
        if config.metrics.address:
            serve(progress, variants)
        return assemble(places, config, progress, stop, keeping=Keeping(any=True), variants=variants)
    except FreshFlowError as error:
        raise SystemExit(f"freshflow: {error}") from None


def _place(environment: Mapping[str, str], name: str, default: str | None) -> str:
    value = environment.get(name, default)
    if value is None:
        raise ConfigError(f"{name} is not set; give it a path, - or kafka://host:port/topic.")
    return value
