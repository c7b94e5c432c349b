"""Jobs that are killed at random moments, with SIGKILL, and started again with the same command."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from freshflow.config import Config, JobConfig

from .jobs import Job, until
from .kafka import Broker, Topics, Watch, new_topics, produce
from .outcomes import Outcome
from .published import compared, lists_in_file, lists_in_topic
from .states import differences, states, totals, users
from .streams import many_users, shop

__all__ = ["killed_on_a_file", "killed_on_kafka", "killed_with_many_users", "killed_with_two_processes"]

TIMES, EVENTS = 20, 50_000
SHORT = 12_000
STARTING = 0.25  # the share of kills that come while a job starts
STARTS_S, WORKS_S = 2.5, 0.6  # how long after its start, or after its first list, a job is killed at most
RESUMED_S = 10.0  # within which a job with 100,000 users has to go on


def killed_on_kafka(folder: Path, broker: Broker) -> list[Outcome]:
    """From topic to topic, one process."""
    calm = new_topics(broker.address)
    produce(broker.address, calm.events, shop(EVENTS))
    told = new_topics(broker.address, calm.events)
    _undisturbed(folder, "calm", *calm.options())
    with Watch(broker.address, told.lists) as watch:
        tried, recovered_s, wrong = _killed(folder, "told", lambda: watch.count, Random(1), TIMES, *told.options())
    lost, duplicated, different = compared(
        lists_in_topic(broker.address, told.lists), lists_in_topic(broker.address, calm.lists)
    )
    wrong += different + _other_state(folder, Config())
    return [Outcome("SIGKILL, Kafka", tried, lost, duplicated, recovered_s, wrong, f"{EVENTS:,} events")]


def killed_on_a_file(folder: Path, broker: Broker) -> list[Outcome]:
    """From file to file: no list may be there twice."""
    (folder / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in shop(EVENTS)))
    options = ["--input", "events.jsonl", "--output"]
    _undisturbed(folder, "calm", *options, "calm.jsonl")
    at = folder / "told.jsonl"
    size = lambda: at.stat().st_size if at.exists() else 0  # noqa: E731
    tried, recovered_s, wrong = _killed(folder, "told", size, Random(2), TIMES // 2, *options, "told.jsonl")
    lost, duplicated, different = compared(lists_in_file(at), lists_in_file(folder / "calm.jsonl"))
    wrong += different + _other_state(folder, Config())
    if duplicated:
        wrong += ("lists are twice in a file",)
    return [Outcome("SIGKILL, file", tried, lost, duplicated, recovered_s, wrong, f"{EVENTS:,} events")]


def killed_with_two_processes(folder: Path, broker: Broker) -> list[Outcome]:
    """From topic to topic, four partitions in two processes, of which sometimes one alone is killed."""
    calm = new_topics(broker.address)
    produce(broker.address, calm.events, shop(SHORT))
    told = new_topics(broker.address, calm.events)
    several = ("--partitions", 4)
    _undisturbed(folder, "calm", *calm.options(), *several)
    with Watch(broker.address, told.lists) as watch:
        options = (*told.options(), *several, "--processes", 2)
        tried, recovered_s, wrong = _killed(folder, "told", lambda: watch.count, Random(3), 6, *options)
    lost, duplicated, different = same_totals(folder, told, Config(job=JobConfig(partitions=4)))
    note = f"{SHORT:,} events, 4 partitions"
    return [Outcome("SIGKILL, two processes", tried, lost, duplicated, recovered_s, wrong + different, note)]


def killed_with_many_users(folder: Path, broker: Broker) -> list[Outcome]:
    """How soon a job that knows 100,000 users goes on: from the start of the process to the first new list."""
    topics = new_topics(broker.address)
    lines = many_users(100_000)
    produce(broker.address, topics.events, lines)
    options = (*topics.options(), "--recovery", "state")
    wrong: tuple[str, ...] = ()
    with Watch(broker.address, topics.lists) as watch:
        with Job(folder, *options) as job:
            until(lambda: watch.count and time.monotonic() - watch.last_s > 1.5, 400)
            produce(broker.address, topics.events, lines[:2000])
            until(lambda: time.monotonic() - watch.last_s < 0.5)
            job.kill_all()
        time.sleep(1)
        before = watch.count
        with Job(folder, *options) as job:
            until(lambda: watch.count > before)
            recovered_s = watch.last_s - job.began_s
            wrong += job.ended_badly(0) if job.signal(signal.SIGTERM) else ()
    known = len(users(states(folder / "state", Config())))
    if known < 100_000:
        wrong += (f"{known} users are known",)
    if recovered_s > RESUMED_S:
        wrong += (f"it took longer than {RESUMED_S:.0f} s",)
    note = f"{known:,} users, {len(lines):,} events"
    return [Outcome("SIGKILL, 100,000 users", 1, None, None, recovered_s, wrong, note)]


def same_totals(folder: Path, topics: Topics, config: Config) -> tuple[int, int, tuple[str, ...]]:
    """Lists lost and twice, and what differs from an undisturbed job, of a job whose lists depend on chance.

    With several partitions an event of one partition may be a moment earlier or later in another. So what is compared
    is who did what, and how many lists were made; each that was counted has to be there.
    """
    told, calm = (states(folder / name, config) for name in ("told", "calm"))
    lists = lists_in_topic(topics.broker, topics.lists)
    wrong = tuple(differences(users(calm), users(told), "users"))
    counted = totals(told, "events", "answers")
    wrong += tuple(differences(totals(calm, "events", "answers"), counted, "totals"))
    made = totals(told, "lists", "unchanged", "refreshed", "answers")
    if made["lists"] + made["unchanged"] != counted["events"]:
        wrong += ("events are missing among those that changed a list or not",)
    lost = max(0, made["lists"] + made["refreshed"] + made["answers"] - len(lists.content))
    lost += max(0, counted["answers"] - len(lists.requests))
    return lost, lists.repeated, wrong


def _undisturbed(folder: Path, recovery: str, *options: object) -> None:
    with Job(folder, *options, "--until-end", "--recovery", recovery, "--quiet") as job:
        assert job.wait() == 0, job.said


def _killed(
    folder: Path, recovery: str, progress: Callable[[], int], random: Random, times: int, *options: object
) -> tuple[int, float, tuple[str, ...]]:
    """Start a job again and again and kill it; then let it end. Kills, the longest start, and what went wrong."""
    options = (*options, "--until-end", "--recovery", recovery, "--quiet")
    tried, longest_s, wrong = 0, 0.0, ()
    while tried < times:
        before = progress()
        with Job(folder, *options) as job:
            if random.random() < STARTING:
                time.sleep(random.uniform(0, STARTS_S))
            else:
                until(lambda: progress() > before or not job.runs)
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


def _other_state(folder: Path, config: Config) -> tuple[str, ...]:
    told, calm = (states(folder / name, config) for name in ("told", "calm"))
    return tuple(differences(calm, told))
