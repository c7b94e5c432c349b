"""A job: where it reads and writes, put together with the graph, and run by Bytewax."""

import re
import signal
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import FrameType

import msgspec
from bytewax.dataflow import Dataflow
from bytewax.recovery import (
    InconsistentPartitionsError,
    MissingPartitionsError,
    NoPartitionsError,
    RecoveryConfig,
    init_db_dir,
)
from bytewax.run import cli_main

from freshflow.config import Config, load_config
from freshflow.connectors.kafka import KafkaSink, KafkaSource
from freshflow.connectors.urls import beside, check_distinct, is_kafka, open_sink, open_source, start_fresh
from freshflow.dataflow.graph import Endpoints, build_flow
from freshflow.dataflow.progress import Progress
from freshflow.errors import ConfigError, FreshFlowError, OutputError, SnapshotError
from freshflow.ranking.ranker import model_factory

__all__ = ["Places", "StopFlag", "assemble", "flow_from_environment", "run_flow", "system_clock"]

# Recovery partitions: each is a file that one worker writes; a handful serves from one process to eight.
RECOVERY_PARTS = 8
# A Kafka record holds a megabyte by default; what is kept of a rejected one must fit with its reason.
KAFKA_DEAD_LETTER_BYTES = 700_000
# What Bytewax raises where a recovery folder holds something else, or not all of it.
UNUSABLE = (InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError)
# How Bytewax says, in the words of its code, that a file there is damaged or cannot be opened or written.
STORE_FAILURE = re.compile(r'(?:SqliteFailure.*Some\("|(?=Error opening recovery DB))([^"]*)')


class Places(msgspec.Struct, frozen=True):
    """URLs of a job. Rejected records go beside an output file where `dead_letters` says nothing else."""

    input: str
    output: str
    dead_letters: str | None = None
    metrics: str | None = None
    until_end: bool = False

    def dead_letter_place(self) -> str | None:
        """Where rejected records go; None means they are logged."""
        return self.dead_letters or beside(self.output, "dead-letters")


class StopFlag:
    """Set by SIGTERM and SIGINT: sources end, everything in flight is written, a last snapshot is taken."""

    def __init__(self) -> None:
        self.is_set = False

    def install(self) -> None:
        """Take over both signals; a second one ends the process at once, as usual."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

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
    keep_snapshots: bool,
) -> Dataflow:
    """The dataflow of a job. Raises a `FreshFlowError` if a place or the ranker's model cannot be used."""
    dead_letters = places.dead_letter_place()
    check_distinct(
        {
            "--input": places.input,
            "--output": places.output,
            "--dead-letters": dead_letters,
            "--metrics": places.metrics,
        }
    )
    endpoints = Endpoints(
        source=open_source(places.input, config, clock, stop, until_end=places.until_end),
        recommendations=open_sink(places.output, config),
        dead_letters=open_sink(dead_letters, config) if dead_letters else None,
        metrics=open_sink(places.metrics, config) if places.metrics else None,
        dead_letter_raw=KAFKA_DEAD_LETTER_BYTES if dead_letters and is_kafka(dead_letters) else None,
    )
    model_factory(config.ranker.model)  # River takes a second or more to load, for which no event should wait
    if not keep_snapshots:
        for endpoint in (endpoints.source, endpoints.recommendations, endpoints.dead_letters, endpoints.metrics):
            if isinstance(endpoint, KafkaSource | KafkaSink):
                endpoint.list_parts()  # asks the broker, before any file is emptied for a job that cannot run
        for url in (places.output, dead_letters, places.metrics):
            if url is not None:
                start_fresh(url)
    return build_flow(config, endpoints, clock, progress, keep_snapshots=keep_snapshots)


def run_flow(flow: Dataflow, config: Config, recovery: Path | None) -> None:
    """Run a dataflow in this process until its input ends; with recovery, go on where the folder says."""
    epoch = timedelta(seconds=config.job.epoch_s)
    try:
        cli_main(flow, epoch_interval=epoch, recovery_config=_recovery(recovery) if recovery else None)
    except UNUSABLE as error:
        raise _unusable(recovery, str(error)) from None
    except RuntimeError as error:
        what = STORE_FAILURE.search(str(error))
        if what is None:
            raise
        raise _unusable(recovery, what[1]) from None


def _recovery(folder: Path) -> RecoveryConfig:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            init_db_dir(folder, RECOVERY_PARTS)
    except OSError as error:
        raise OutputError(f"The recovery folder {folder} cannot be used: {error.strerror}.") from None
    return RecoveryConfig(folder)


def _unusable(folder: Path | None, what: str) -> SnapshotError:
    return SnapshotError(f"The recovery folder {folder} cannot be used ({what}); restore it, or give an empty one.")


def flow_from_environment(
    environment: Mapping[str, str], default_input: str | None = None, default_output: str | None = None
) -> Dataflow:
    """The dataflow for `python -m bytewax.run`: FRESHFLOW_INPUT, _OUTPUT, _DEAD_LETTERS, _METRICS and _CONFIG.

    Ends the process with one sentence if a place or a setting cannot be used.
    """
    try:
        places = Places(
            input=_place(environment, "FRESHFLOW_INPUT", default_input),
            output=_place(environment, "FRESHFLOW_OUTPUT", default_output),
            dead_letters=environment.get("FRESHFLOW_DEAD_LETTERS"),
            metrics=environment.get("FRESHFLOW_METRICS"),
            until_end=environment.get("FRESHFLOW_UNTIL_END", "") == "1",
        )
        config = load_config(environment.get("FRESHFLOW_CONFIG"), environment)
        stop = StopFlag()
        stop.install()
        return assemble(places, config, Progress(), stop, keep_snapshots=True)
    except FreshFlowError as error:
        raise SystemExit(f"freshflow: {error}") from None


def _place(environment: Mapping[str, str], name: str, default: str | None) -> str:
    value = environment.get(name, default)
    if value is None:
        raise ConfigError(f"{name} is not set; give it a path, - or kafka://host:port/topic.")
    return value
