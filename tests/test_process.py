"""The set-up of processes: importing the package changes nothing, and a command prepares its own process only."""

import subprocess
import sys

import pytest
from llvmlite import binding

from freshflow._process import COMMON_CPU_FEATURES

LIBRARY = """
import os, sys
import numba

def settings():
    return {name: value for name, value in vars(numba.config).items() if name.isupper()}

environment, config, modules = dict(os.environ), settings(), dict(sys.modules)
import freshflow
from freshflow import Recommender
Recommender()
assert dict(os.environ) == environment
assert settings() == config
assert all(sys.modules[name] is module for name, module in modules.items())
assert "freshflow._process" not in sys.modules and "freshflow._lazy_import" not in sys.modules
import river.proba.gaussian, scipy.stats
assert river.proba.gaussian.multivariate_normal is scipy.stats.multivariate_normal
"""
PACKAGE = "import sys; import freshflow; print('numpy' in sys.modules, 'numba' in sys.modules, 'river' in sys.modules)"
JOB = """
import os, sys
from freshflow._process import configure_job_process
configure_job_process()
from freshflow.config.schema import Config
from freshflow.streaming.job import warm_up
import numba
warm_up(Config())
print([name for name in sys.modules if name.startswith("scipy.") and not name.startswith("scipy._")])
print(os.environ["OPENBLAS_NUM_THREADS"], numba.config.CPU_NAME)
from river import proba
normal = proba.MultivariateGaussian()
for n in range(5):
    normal.update({"a": n, "b": n * n})
print(0 < normal({"a": 2, "b": 4}) < 1, round(proba.Beta(2, 2).cdf(0.5), 6))
"""
ENTRY_POINT = """
import runpy, sys
import freshflow._process

def configure():
    print("numpy" in sys.modules)
    raise SystemExit

freshflow._process.configure_job_process = configure
sys.argv = {arguments!r}
runpy.run_module({module!r}, run_name="__main__")
"""


def run_python(program: str) -> list[str]:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_package_import_loads_no_numerical_library():
    assert run_python(PACKAGE) == ["False False False"]


def test_library_import_changes_neither_environment_nor_settings_nor_modules():
    run_python(LIBRARY)


def test_job_process_runs_without_scipy_with_one_blas_thread_and_a_common_processor():
    scipy_modules, settings, scipy_results = run_python(JOB)
    assert scipy_modules == "['scipy.version']"
    host_features = binding.get_host_cpu_features()
    is_common = all(host_features.get(feature) for feature in COMMON_CPU_FEATURES)
    assert settings == ("1 haswell" if is_common else "1 None")
    assert scipy_results == "True 0.5"


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("freshflow.cli.main", ["freshflow", "run"]),
        ("freshflow.cli.main", ["freshflow", "evaluate"]),
        ("freshflow.cli.main", ["freshflow", "check"]),
        ("freshflow.cluster", ["freshflow.cluster", "0", "3"]),
        ("flows.recommend", ["flows.recommend"]),
        ("flows.replay", ["flows.replay"]),
    ],
)
def test_entry_point_prepares_its_process_before_numpy_is_imported(module, arguments):
    assert run_python(ENTRY_POINT.format(module=module, arguments=arguments)) == ["False"]
