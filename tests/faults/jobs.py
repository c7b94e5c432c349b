"""Jobs as an operator runs them: processes of `freshflow run`, with signals, their memory and their last words."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import job_environment

__all__ = ["LIMIT_S", "Job", "until"]

LIMIT_S = 120.0  # for anything to happen; nothing takes as long, on a machine that is busy, too
EPOCH_S = 0.5


def until(happened: Callable[[], Any], limit_s: float = LIMIT_S, every_s: float = 0.01) -> bool:
    """Wait until something has happened; False if it has not within the limit."""
    end_s = time.monotonic() + limit_s
    while not happened():
        if time.monotonic() > end_s:
            return False
        time.sleep(every_s)
    return True


class Job:
    """`freshflow run` with some options, in a folder, with short epochs; killed at the end of the block if it runs."""

    def __init__(self, folder: Path, *options: object, before: Callable[[], None] | None = None, **settings: object):
        self.began_s = time.monotonic()
        self._errors = folder / f"stderr-{time.monotonic_ns()}.txt"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "freshflow.cli.main", "run", *map(str, options)],
                cwd=folder,
                env=job_environment(**{"job_epoch_s": EPOCH_S} | settings),
                stdin=subprocess.DEVNULL,
                stderr=errors,
                preexec_fn=before,
            )

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *error: object) -> None:
        if self.runs:
            self.process.kill()
            self.process.wait()

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        """What it wrote on standard error."""
        return self._errors.read_text(errors="replace")

    @property
    def last_line(self) -> str:
        return (self.said.splitlines() or [""])[-1]

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.began_s

    def members(self) -> list[int]:
        """The processes it has started."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def memory_mb(self) -> float:
        """Of the process, without those it has started; 0 if it has ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)

    def signal(self, number: signal.Signals, limit_s: float = LIMIT_S) -> int:
        """Send a signal and wait for the end; its exit code."""
        if self.runs:
            self.process.send_signal(number)
        return self.wait(limit_s)

    def kill_all(self) -> None:
        """SIGKILL to it and to those that it has started, as a machine that fails does; wait until all are gone."""
        pids = self.members() if self.runs else []
        for pid in (self.process.pid, *pids):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 10)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the end; its exit code."""
        return self.process.wait(limit_s)

    def ended_badly(self, code: int, *words: str) -> tuple[str, ...]:
        """What was otherwise than said: another exit code, or last words that are not one sentence with `words`."""
        wrong = [] if self.process.returncode == code else [f"exit code {self.process.returncode}, not {code}"]
        line = self.last_line
        if code and not line.startswith("freshflow: "):
            wrong.append(f"its last line is {line!r}")
        wrong += [f"{word!r} is not in {line!r}" for word in words if word not in line]
        wrong += [f"{trace} on standard error" for trace in ("Traceback", "panicked") if trace in self.said]
        if wrong:
            sys.stderr.write(self.said[-3000:])
        return tuple(wrong)
