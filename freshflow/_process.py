"""Set-up of a process of our own: a command, a process of a cluster, a module that `bytewax.run` runs.

Importing the package changes nothing in a process. The settings here are for the processes that FreshFlow starts, and
only they call this module.
"""

import os
from typing import Any

from freshflow._lazy_import import lazy_imports

# The parts of SciPy that River and Numba import at their start. No function that a job calls needs them.
UNUSED_SCIPY_MODULES = tuple(
    f"scipy.{name}"
    for name in (
        *("integrate", "io", "io.arff", "io.arff._arffread", "linalg", "linalg.cython_blas"),
        *("ndimage", "sparse", "special", "stats"),
    )
)
# Processors with these features compile to the same machine code (see `_pin_cpu_target`).
COMMON_CPU, COMMON_CPU_FEATURES = "haswell", ("avx2", "fma")


def configure_job_process() -> None:
    """Prepare a process that runs a job, before numpy, Numba or River are imported.

    - OpenBLAS gets one thread. A job scales by processes of one worker each and its matrices are small: more threads
      wait for each other, and on two busy cores they cost two thirds of the throughput.
    - River and Numba are imported without the parts of SciPy that no job uses, which saves 0.8 s of CPU time and
      54 MB of memory at each start.
    - Numba compiles for the same processor everywhere, so that lists are the same bytes everywhere.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with lazy_imports(*UNUSED_SCIPY_MODULES):
        import numba.np.arraymath

        import freshflow._river  # noqa: F401
    _pin_cpu_target(numba.config)


def _pin_cpu_target(numba_config: Any) -> None:
    """Compile for the instructions that all x86 processors of the last ten years have, and for no newer ones.

    The order of additions, and with it the last bits of scores, depends on the width of vectors; 512 bits were no
    faster than 256. Other processors, and a user's own NUMBA_CPU_NAME or NUMBA_CPU_FEATURES, are left to Numba.
    """
    from llvmlite import binding

    host_features = binding.get_host_cpu_features()
    has_own_target = numba_config.CPU_NAME is not None or numba_config.CPU_FEATURES is not None
    if not has_own_target and all(host_features.get(feature) for feature in COMMON_CPU_FEATURES):
        numba_config.CPU_NAME, numba_config.CPU_FEATURES = COMMON_CPU, ""
