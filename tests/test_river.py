"""River without SciPy: a job does without, and what needs it has it."""

import subprocess
import sys

import pytest

from freshflow._river import proba

JOB = """
import sys
from freshflow.config.schema import Config
from freshflow.streaming.job import warm_up

warm_up(Config())
print([name for name in sys.modules if name.startswith("scipy.") and not name.startswith("scipy._")])
"""


def test_a_job_loads_no_part_of_scipy() -> None:
    done = subprocess.run([sys.executable, "-c", JOB], capture_output=True, text=True, check=True)
    assert done.stdout == "['scipy.version']\n"


def test_what_river_has_of_scipy_is_there_when_it_is_used() -> None:
    bells = proba.MultivariateGaussian()
    for n in range(5):
        bells.update({"a": n, "b": n * n})
    assert 0 < bells({"a": 2, "b": 4}) < 1
    assert proba.Beta(2, 2).cdf(0.5) == pytest.approx(0.5)
