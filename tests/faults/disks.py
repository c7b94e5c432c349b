"""A disk that is full: under the lists, and under the recovery folder, in one process and in one of two."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bytewax.recovery import init_db_dir

from freshflow.config.schema import Config, JobConfig

from .calm import other_state, undisturbed
from .jobs import Job
from .kafka import Broker
from .outcomes import Outcome
from .published import compared, lists_in_file
from .states import differences, states, users
from .streams import shop

__all__ = ["output_full", "recovery_full", "store_full"]

EVENTS = 6_000
SMALL_MB, ENOUGH_MB = 4, 1000
LEFT = 200_000
MB = 1 << 20


def output_full(folder: Path, broker: Broker) -> list[Outcome]:
    """The file of lists can grow no more; when there is room again, the same command does the rest."""
    _write(folder)
    outcomes = []
    for processes in (1, 2):
        here = folder / str(processes)
        here.mkdir()
        options = ("--input", "../events.jsonl", "--quiet", "--partitions", processes, "--processes", processes)
        undisturbed(here, *options, "--output", "calm.jsonl")
        options = (*options, "--output", "told.jsonl", "--recovery", "told")
        with Job(here, *options, before=lambda: _limit(SMALL_MB)) as job:
            job.wait()
            wrong = job.ended_badly(1, "The output told.jsonl cannot be written: File too large", "make room")
        with Job(here, *options) as job:
            job.wait()
            wrong += job.ended_badly(0)
        lists, calm = lists_in_file(here / "told.jsonl"), lists_in_file(here / "calm.jsonl")
        lost, duplicated, different = compared(lists, calm)
        wrong += different if processes == 1 else ()
        wrong += _different(here, processes)
        name = f"output full, {processes} process{'es' if processes > 1 else ''}"
        outcomes.append(Outcome(name, 1, lost if processes == 1 else 0, duplicated, None, wrong, f"{EVENTS:,} events"))
    return outcomes


def recovery_full(folder: Path, broker: Broker) -> list[Outcome]:
    """The disk of the recovery folder is full; when there is room again, the same command does the rest."""
    _write(folder)
    outcomes = []
    for processes in (1, 2):
        here = folder / str(processes)
        (here / "told").mkdir(parents=True)
        options = ("--input", "../events.jsonl", "--quiet", "--partitions", processes, "--processes", processes)
        undisturbed(here, *options, "--output", "calm.jsonl")
        options = (*options, "--output", "told.jsonl", "--recovery", "told")
        with _small_disk(here / "told") as grow:
            with Job(here, *options) as job:
                job.wait()
                wrong = job.ended_badly(1, "told", "make room")
            grow()
            with Job(here, *options) as job:
                job.wait()
                wrong += job.ended_badly(0)
            lists, calm = lists_in_file(here / "told.jsonl"), lists_in_file(here / "calm.jsonl")
            lost, duplicated, different = compared(lists, calm)
            wrong += different if processes == 1 else ()
            wrong += _different(here, processes)
        name = f"recovery full, {processes} process{'es' if processes > 1 else ''}"
        outcomes.append(Outcome(name, 1, lost if processes == 1 else 0, duplicated, None, wrong, f"{EVENTS:,} events"))
    return outcomes


def store_full(folder: Path, broker: Broker) -> list[Outcome]:
    """The disk has no room for Bytewax's store, though there is some for the states."""
    _write(folder)
    wrong: tuple[str, ...] = ()
    options = ("--input", "events.jsonl", "--quiet", "--partitions", 2, "--recovery", "told", "--output", "told.jsonl")
    (folder / "told").mkdir()
    (folder / "states").mkdir()
    with _small_disk(folder / "told"):
        init_db_dir(folder / "told", 8)
        (folder / "told" / "states").symlink_to(folder / "states")
        full = (folder / "told" / "full").open("wb", buffering=0)
        with full, suppress(OSError):
            while full.write(bytes(1 << 14)):
                pass
        # Enough to be looked at, as a job does before it begins.
        os.truncate(full.name, Path(full.name).stat().st_size - LEFT)
        for processes in (1, 2):
            with Job(folder, *options, "--processes", processes) as job:
                job.wait()
                wrong += job.ended_badly(1, "The recovery folder told cannot be written", "make room there")
        (folder / "told" / "full").unlink()
        with Job(folder, *options) as job:
            job.wait()
            wrong += job.ended_badly(0)
    return [Outcome("store full, 1 and 2 processes", 2, wrong=wrong, note="sentence, exit 1")]


def _write(folder: Path) -> None:
    (folder / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in shop(EVENTS)))


def _different(folder: Path, processes: int) -> tuple[str, ...]:
    """With two partitions, what is compared is who did what."""
    if processes == 1:
        return other_state(folder, Config())
    config = Config(job=JobConfig(partitions=processes))
    return tuple(differences(*(users(states(folder / name, config)) for name in ("calm", "told")), "users"))


def _limit(megabytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * MB, megabytes * MB))


@contextmanager
def _small_disk(at: Path) -> Iterator:
    """A file system of its own that is soon full; what it gives makes room."""
    options = ["mount", "-t", "tmpfs", "-o"]
    subprocess.run([*options, f"mode=0700,size={SMALL_MB}m", "tmpfs", at], check=True)
    try:
        yield lambda: subprocess.run([*options, f"remount,size={ENOUGH_MB}m", "tmpfs", at], check=True)
    finally:
        subprocess.run(["umount", at], check=True)
