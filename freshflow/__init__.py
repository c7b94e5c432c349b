"""FreshFlow: a streaming job that keeps recommendations fresh."""

import os

__all__ = ["__version__"]

__version__ = "0.1.0"

# The job scales by processes of one worker each, and its matrices are small: threads of the linear algebra library
# only wait for each other. On two busy cores they cost two thirds of the throughput. numpy reads this when imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
