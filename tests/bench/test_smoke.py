"""The benchmarks run; how fast is for `make bench` to say."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 800  # the first of all tests may be the one that compiles

pytestmark = pytest.mark.timeout(LIMIT_S + 50)


def told_by(module: str, *arguments: object) -> str:
    command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout


def test_the_table_of_speeds_has_a_row_for_each_that_is_compared() -> None:
    told = told_by("throughput", "--events", 600, "--runs", 1)
    for name in ("bare graph", "the job  ", "the job with refreshes", "VSKNN"):
        assert name in told


def test_growth_processes_and_epochs_are_measured() -> None:
    told = told_by("scale", "--events", 20_500, "--short", 1_500, "--runs", 1)
    for name in ("late / early", "peak memory", "two processes", "Ends of epochs"):
        assert name in told


def test_answers_are_timed_while_lists_come_in() -> None:
    told = told_by("serve", "--rate", 50, "--seconds", 1, "--users", 20, "--writes", 20)
    for name in ("50 answers", "p99", "us an answer", "could be asked for"):
        assert name in told


def test_withdrawals_are_timed() -> None:
    assert "us a list" in told_by("withdrawal", 300)
