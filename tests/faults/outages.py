"""A broker that is away: before a job starts, in the middle of it, or there and silent."""

import time
from collections.abc import Callable
from pathlib import Path

from freshflow.config.schema import Config
from tests.kafka.brokers import free_port

from .calm import other_state, undisturbed
from .jobs import Job, until
from .kafka import Broker, Watch, new_topics, produce
from .outcomes import Outcome
from .published import compared, lists_in_topic
from .streams import shop

__all__ = ["broker_away_at_the_start", "broker_held", "broker_killed"]

EVENTS = 30_000
AWAY_S, HELD_S = 30.0, 20.0
ANSWERED_S = 20.0  # for a job to give up at its start, with a kafka.timeout_s of 3: Python has to load, too
GROWN_MB = (
    200.0  # of lists that wait to be written (64 MB), of events that were fetched (16 MB), and of what is learned
)


def broker_away_at_the_start(folder: Path, broker: Broker) -> list[Outcome]:
    """Nothing listens at the address; the job gives up in time, with a sentence."""
    address, wrong, tried = f"127.0.0.1:{free_port()}", (), 0
    topic = new_topics(broker.address).events
    for options in ((), ("--recovery", "state", "--processes", 2)):
        for input in (f"{address}/events", f"{broker.address}/{topic}"):
            with Job(
                folder,
                "--input",
                f"kafka://{input}",
                "--output",
                f"kafka://{address}/lists",
                *options,
                kafka_timeout_s=3,
            ) as job:
                job.wait()
                wrong += job.ended_badly(1, f"No Kafka broker answered at {address} within 3 s", "check that it runs")
                if job.age_s > ANSWERED_S:
                    wrong += (f"it took {job.age_s:.0f} s to give up",)
                tried += 1
    return [Outcome("broker away at the start", tried, wrong=wrong, note="sentence, exit 1")]


def broker_killed(folder: Path, broker: Broker) -> list[Outcome]:
    """SIGKILL in the middle of a stream; after half a minute it is back, with its data. The job waits for it."""

    def fault(job: Job) -> float:
        broker("kill")
        time.sleep(AWAY_S)
        broker("restart")
        return 0.0

    return [_in_the_middle("broker killed, back after 30 s", folder, broker, fault)]


def broker_held(folder: Path, broker: Broker) -> list[Outcome]:
    """It stops answering for a while and holds its connections; the job waits, and its memory stays bounded.

    Epochs are long, so that what bounds it is the room for lists that wait, not the end of an epoch.
    """

    def fault(job: Job) -> float:
        began_s, most_mb = time.monotonic(), 0.0
        broker("pause")
        while time.monotonic() - began_s < HELD_S:
            most_mb = max(most_mb, job.memory_mb())
            time.sleep(0.1)
        broker("resume")
        return most_mb

    return [_in_the_middle("broker held for 20 s", folder, broker, fault, job_epoch_s=60)]


def _in_the_middle(
    name: str, folder: Path, broker: Broker, fault: Callable[[Job], float], **settings: object
) -> Outcome:
    calm = new_topics(broker.address)
    produce(broker.address, calm.events, shop(EVENTS))
    told = new_topics(broker.address, calm.events)
    undisturbed(folder, *calm.options())
    options = (*told.options(), "--until-end", "--recovery", "told", "--quiet")
    with Watch(broker.address, told.lists) as watch, Job(folder, *options, **settings) as job:
        until(lambda: watch.count)
        before_mb, most_mb = job.memory_mb(), fault(job)
        began_s, before = time.monotonic(), watch.count
        until(lambda: watch.count > before)
        recovered_s = watch.last_s - began_s
        job.wait()
        wrong = job.ended_badly(0)
    lost, duplicated, different = compared(
        lists_in_topic(broker.address, told.lists), lists_in_topic(broker.address, calm.lists)
    )
    wrong += different + other_state(folder, Config())
    note = f"{EVENTS:,} events"
    if most_mb:
        note += f", {before_mb:.0f} MB, then {most_mb:.0f}"
        if most_mb > before_mb + GROWN_MB:
            wrong += ("memory grows while it waits",)
    return Outcome(name, 1, lost, duplicated, recovered_s, wrong, note)
