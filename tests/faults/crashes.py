"""Jobs that are killed at random moments, with SIGKILL, and started again with the same command."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from freshflow.config.schema import Config, JobConfig

from .calm import disturbed_totals, other_state, undisturbed
from .jobs import Job, until
from .kafka import Broker, Watch, new_topics, produce
from .outcomes import Outcome
from .published import compared, lists_in_file, lists_in_topic
from .states import states, users
from .streams import many_users, shop

__all__ = ["killed_on_a_file", "killed_on_kafka", "killed_with_many_users", "killed_with_two_processes"]

TIMES, EVENTS = 20, 50_000
ON_A_FILE = 30_000
SHORT = 12_000
STARTING = 0.25  # the share of kills that come while a job starts
STARTS_S, WORKS_S = 2.5, 0.6  # how long after its start, or after its first list, a job is killed at most
RESUMED_S = 10.0  # within which a job with 100,000 users has to go on


def killed_on_kafka(folder: Path, broker: Broker) -> list[Outcome]:
    """From topic to topic, one process."""
    calm = new_topics(broker.address)
    produce(broker.address, calm.events, shop(EVENTS))
    told = new_topics(broker.address, calm.events)
    undisturbed(folder, *calm.options())
    with Watch(broker.address, told.lists) as watch:
        tried, recovered_s, wrong = _killed(folder, lambda: watch.count, Random(1), TIMES, *told.options())
    lost, duplicated, different = compared(
        lists_in_topic(broker.address, told.lists), lists_in_topic(broker.address, calm.lists)
    )
    wrong += different + other_state(folder, Config())
    return [Outcome("SIGKILL, Kafka", tried, lost, duplicated, recovered_s, wrong, f"{EVENTS:,} events")]


def killed_on_a_file(folder: Path, broker: Broker) -> list[Outcome]:
    """From file to file, a record at a time: no list may be there twice."""
    (folder / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in shop(ON_A_FILE)))
    options = ["--batch-size", 1, "--input", "events.jsonl", "--output"]
    undisturbed(folder, *options, "calm.jsonl")
    at = folder / "told.jsonl"
    size = lambda: at.stat().st_size if at.exists() else 0  # noqa: E731
    tried, recovered_s, wrong = _killed(folder, size, Random(2), TIMES, *options, "told.jsonl")
    lost, duplicated, different = compared(lists_in_file(at), lists_in_file(folder / "calm.jsonl"))
    wrong += different + other_state(folder, Config())
    if duplicated:
        wrong += ("lists are twice in a file",)
    note = f"{ON_A_FILE:,} events, batch size 1"
    return [Outcome("SIGKILL, file", tried, lost, duplicated, recovered_s, wrong, note)]


def killed_with_two_processes(folder: Path, broker: Broker) -> list[Outcome]:
    """From topic to topic, four partitions in two processes, of which sometimes one alone is killed."""
    calm = new_topics(broker.address)
    produce(broker.address, calm.events, shop(SHORT))
    told = new_topics(broker.address, calm.events)
    several = ("--partitions", 4)
    undisturbed(folder, *calm.options(), *several)
    with Watch(broker.address, told.lists) as watch:
        options = (*told.options(), *several, "--processes", 2)
        tried, recovered_s, wrong = _killed(folder, lambda: watch.count, Random(3), 6, *options)
    lost, duplicated, different = disturbed_totals(folder, told, Config(job=JobConfig(partitions=4)))
    note = f"{SHORT:,} events"
    return [Outcome("SIGKILL, two processes", tried, lost, duplicated, recovered_s, wrong + different, note)]


def killed_with_many_users(folder: Path, broker: Broker) -> list[Outcome]:
    """How soon a job that knows 100,000 users goes on: from the start of the process to the first new list."""
    topics = new_topics(broker.address)
    lines = many_users(120_000)
    lines, more = lines[:200_000], lines[200_000:]
    produce(broker.address, topics.events, lines)
    undisturbed(folder, *topics.options())
    produce(broker.address, topics.events, more)
    wrong: tuple[str, ...] = ()
    options = (*topics.options(), "--recovery", "calm", "--quiet")
    with Watch(broker.address, topics.lists) as watch:
        until(watch.is_idle)
        before = watch.count
        with Job(folder, *options) as job:
            until(lambda: watch.count > before)
            time.sleep(2)
            job.kill_all()
        until(watch.is_idle)
        before = watch.count
        with Job(folder, *options) as job:
            until(lambda: watch.count > before)
            recovered_s = job.age_s
            job.signal(signal.SIGTERM)
            wrong += job.ended_badly(0)
    known = len(users(states(folder / "calm", Config())))
    if known < 100_000:
        wrong += (f"{known} users are known",)
    if recovered_s > RESUMED_S:
        wrong += (f"it took longer than {RESUMED_S:.0f} s",)
    note = f"{known:,} users, {len(lines):,} events"
    return [Outcome("SIGKILL, 100,000 users", 1, None, None, recovered_s, wrong, note)]


def _killed(
    folder: Path, progress: Callable[[], int], random: Random, times: int, *options: object
) -> tuple[int, float, tuple[str, ...]]:
    """Start a job again and again and kill it; then let it end. Kills, the longest start, and what went wrong."""
    options = (*options, "--until-end", "--recovery", "told", "--quiet")
    tried, longest_s, wrong = 0, 0.0, ()
    while tried < times:
        before = progress()
        with Job(folder, *options) as job:
            if random.random() < STARTING:
                time.sleep(random.uniform(0, STARTS_S))
            else:
                until(lambda before=before, job=job: progress() > before or not job.runs)
                longest_s = max(longest_s, job.age_s)
                time.sleep(random.uniform(0, WORKS_S))
            if not job.runs:
                wrong += job.ended_badly(0)
                break
            members = job.members()
            if members and random.random() < 0.5:
                os.kill(random.choice(members), signal.SIGKILL)
                job.wait()
                wrong += job.ended_badly(1, "was killed by SIGKILL", "--recovery told")
            else:
                job.kill_all()
            tried += 1
    if tried < times:
        wrong += (f"it ended before it could be killed {times} times",)
    with Job(folder, *options) as job:
        job.wait()
        wrong += job.ended_badly(0)
    return tried, longest_s, wrong
