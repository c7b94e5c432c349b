"""Jobs that are told to stop, and go on in the same or in another number of processes."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from freshflow.config.schema import Config, JobConfig

from .calm import disturbed_totals, other_state, undisturbed
from .jobs import Job, until
from .kafka import Broker, Topics, Watch, new_topics, produce
from .outcomes import Outcome
from .published import compared, lists_in_topic
from .streams import shop

__all__ = ["rescaled", "stopped"]

EVENTS, SEVERAL = 20_000, 20_000
STOPPED_S = 10.0  # within which a job has to end


def stopped(folder: Path, broker: Broker) -> list[Outcome]:
    """SIGTERM and SIGINT in turn, with one process: nothing is done twice."""
    calm = new_topics(broker.address)
    produce(broker.address, calm.events, shop(EVENTS))
    told = new_topics(broker.address, calm.events)
    undisturbed(folder, *calm.options())
    several = [(number, 1) for number in (signal.SIGTERM, signal.SIGINT) * 2]
    recovered_s, slowest_s, wrong = _stopped(folder, told, several, *told.options())
    both = [lists_in_topic(broker.address, topics.lists) for topics in (told, calm)]
    lost, duplicated, different = compared(*both)
    wrong += different + other_state(folder, Config())
    return [
        _outcome(
            "SIGTERM and SIGINT",
            len(several),
            lost,
            duplicated,
            recovered_s,
            wrong,
            f"{EVENTS:,} events, {slowest_s:.1f} s to stop",
        )
    ]


def rescaled(folder: Path, broker: Broker) -> list[Outcome]:
    """One process is stopped, two go on, then four, then one, while events come."""
    told = new_topics(broker.address)
    lines = shop(SEVERAL)
    partitions = ("--partitions", 4)
    several = [(signal.SIGTERM, 1), (signal.SIGTERM, 2), (signal.SIGTERM, 4)]
    size = len(lines) // (2 * len(several))
    parts = iter([lines[start : start + size] for start in range(0, len(lines), size)])
    feed = lambda: produce(broker.address, told.events, next(parts, ()))  # noqa: E731
    recovered_s, slowest_s, wrong = _stopped(folder, told, several, *told.options(), *partitions, feed=feed)
    for rest in parts:
        produce(broker.address, told.events, rest)
    undisturbed(folder, *new_topics(broker.address, told.events).options(), *partitions)
    with Job(folder, *told.options(), *partitions, "--until-end", "--recovery", "told", "--quiet") as job:
        job.wait()
        wrong += job.ended_badly(0)
    lost, duplicated, different = disturbed_totals(folder, told, Config(job=JobConfig(partitions=4)))
    note = f"{SEVERAL:,} events, {slowest_s:.1f} s to stop"
    return [_outcome("rescaled, 1, 2, 4, 1", len(several), lost, duplicated, recovered_s, wrong + different, note)]


def _stopped(
    folder: Path,
    topics: Topics,
    several: list[tuple[signal.Signals, int]],
    *options: object,
    feed: Callable[[], None] | None = None,
) -> tuple[float, float, tuple[str, ...]]:
    """Start a job with so many processes and stop it, one after the other; at last let one process do the rest.

    With a `feed` events come before each start and before each stop, and the rest is left to do.

    The longest start, the longest stop (s), and what went wrong.
    """
    random, longest_s, slowest_s, wrong = Random(4), 0.0, 0.0, ()
    end = () if feed is not None else ("--until-end",)
    options = (*options, *end, "--recovery", "told", "--quiet", "--processes")
    with Watch(topics.broker, topics.lists) as watch:
        for number, processes in several:
            before = watch.count
            if feed is not None:
                feed()
            with Job(folder, *options, processes) as job:
                until(lambda before=before, job=job: watch.count > before or not job.runs)
                longest_s = max(longest_s, job.age_s)
                if feed is not None:
                    feed()
                time.sleep(random.uniform(0, 0.5))
                if not job.runs:
                    wrong += ("it ended before it could be stopped",)
                began_s = time.monotonic()
                job.signal(number)
                wrong += job.ended_badly(0)
                took_s = time.monotonic() - began_s
                slowest_s = max(slowest_s, took_s)
                if took_s > STOPPED_S:
                    wrong += (f"{processes} processes took {took_s:.1f} s to stop",)
        if feed is None:
            with Job(folder, *options, 1) as job:
                job.wait()
                wrong += job.ended_badly(0)
    return longest_s, slowest_s, wrong


def _outcome(
    fault: str, tried: int, lost: int, duplicated: int, recovered_s: float, wrong: tuple[str, ...], note: str
) -> Outcome:
    if duplicated:
        wrong += ("lists were published twice",)
    return Outcome(fault, tried, lost, duplicated, recovered_s, wrong, note)
