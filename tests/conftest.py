"""What tests of whole jobs share: jobs in processes of their own and in this one, and events to give them."""

from freshflow._process import configure_job_process

configure_job_process()  # as commands do, so that tests and the commands that they run share the machine code

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from freshflow.config.schema import Config
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines, write_lines
from freshflow.state.recovery_store import open_state_backend
from freshflow.streaming.job import JobUrls, assemble, run_flow, system_clock
from freshflow.streaming.monitoring.progress import JobStats
from tests.order import needs_machine_code, turn, wait_for_machine_code

Json = dict[str, Any]
Finished = subprocess.CompletedProcess[str]
Running = subprocess.Popen[str]
ROOT = Path(__file__).parents[1]
LIMIT_S = 240


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: turn(item.nodeid))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before the time of a test begins
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    if needs_machine_code(item.nodeid):
        wait_for_machine_code()
    return (yield)


def job_environment(**settings: object) -> dict[str, str]:
    """The environment of a job: ours without FRESHFLOW_ variables, and `job_epoch_s=1` as FRESHFLOW_JOB_EPOCH_S."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("FRESHFLOW_")}
    plain |= {"PYTHONPATH": str(ROOT), "RUST_BACKTRACE": "1", "COLUMNS": "80"}
    return plain | {
        name if name.isupper() else f"FRESHFLOW_{name.upper()}": str(value) for name, value in settings.items()
    }


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start `python -m <module> <arguments>` in the test's folder; what still runs at the end is killed."""
    begun: list[Running] = []

    def start(module: str, *arguments: object, stdin: int = subprocess.DEVNULL, **settings: object) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=tmp_path,
            env=job_environment(**settings),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def finish() -> Callable[[Running], Finished]:
    """Wait for a process; its exit code and what it said."""

    def finish(process: Running) -> Finished:
        out, err = process.communicate(timeout=LIMIT_S)
        return Finished(process.args, process.returncode, out, err)

    return finish


@pytest.fixture
def freshflow(tmp_path: Path) -> Callable[..., Finished]:
    """Run `freshflow <arguments>` in the test's folder to its end."""
    return partial(run_freshflow, tmp_path)


@pytest.fixture(scope="session")
def freshflow_in() -> Callable[..., Finished]:
    """Run `freshflow <arguments>` in a folder to its end, for fixtures that outlive a test."""
    return run_freshflow


def run_freshflow(folder: Path, *arguments: object, stdin: Path | None = None, **settings: object) -> Finished:
    with (stdin or Path(os.devnull)).open("rb") as given:
        return subprocess.run(
            [sys.executable, "-m", "freshflow.cli.main", *map(str, arguments)],
            cwd=folder,
            env=job_environment(**settings),
            stdin=given,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )


@pytest.fixture(scope="session")
def run_here() -> Callable[..., JobStats]:
    """Run a job in this process to its end; `sections` are those of the configuration."""

    def run_here(
        places: JobUrls, *, recovery: Path | None = None, clock: Callable[[], int] = system_clock, **sections: Any
    ) -> JobStats:
        config, progress = Config(**sections), JobStats()
        keeping = open_state_backend(recovery)
        run_flow(
            assemble(places, config, progress, lambda: False, clock=clock, state_backend=keeping), config, recovery
        )
        return progress

    return run_here


@pytest.fixture
def stop_at(finish: Callable[[Running], Finished]) -> Callable[..., Finished]:
    """Send a signal to a process as soon as a file has so many bytes."""

    def stop_at(process: Running, number: signal.Signals, file: Path, size: int) -> Finished:
        while process.poll() is None and not (file.exists() and file.stat().st_size >= size):
            time.sleep(0.005)
        process.send_signal(number)
        return finish(process)

    return stop_at


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[..., Counter[str]]:
    """Write events of a simulated shop to a file in the test's folder; how many lines there are of each kind."""

    def simulate(name: str, **options: Any) -> Counter[str]:
        return write_lines(shop_lines(ShopConfig(**options)), str(tmp_path / name))

    return simulate


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], list[Json]]:
    """The JSON lines of a file in the test's folder."""

    def read(name: str) -> list[Json]:
        return [json.loads(line) for line in (tmp_path / name).read_bytes().splitlines()]

    return read
