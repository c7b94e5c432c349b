"""The order of test files where several workers share them, and who compiles while the others do something else.

In a new clone the machine code of the inner loops (freshflow/_numba.py) takes more than a minute to make. Who is
given the first file makes it; the others have the files that need none meanwhile, and who comes to one that does
waits, as making the same a second time would take longer. Then come the files that take long, so that none of them is
begun when there is nothing else left to do.
"""

import fcntl
import os
import tempfile
from functools import cache
from pathlib import Path

from freshflow.config.schema import Config
from freshflow.engine.warm_up import warm_up

__all__ = ["needs_machine_code", "turn", "wait_for_machine_code"]

FIRST = "tests/engine/test_micro_batch.py"
DOCS_WITHOUT_JOBS = ("configuration", "limits", "links", "live_page", "outputs", "privacy", "reasons", "reference")
UNCOMPILED = (
    *(f"tests/{folder}/" for folder in ("config", "deploy", "events", "io", "simulator")),
    *(f"tests/cli/test_{command}.py" for command in ("commands", "explain", "schema", "simulate")),
    *(f"tests/docs/test_{page}.py" for page in (*DOCS_WITHOUT_JOBS, "related", "serve", "site")),
    "tests/test_framing.py",
)
LONG = ("tests/docs/test_pages.py", "tests/bench/", "tests/streaming/", "tests/kafka/", "tests/cli/", "tests/serving/")


def turn(nodeid: str) -> tuple[int, int]:
    """Where in the order a test is; those with the same place stay as they are."""
    if nodeid.startswith(FIRST):
        return 0, 0
    if not needs_machine_code(nodeid):
        return 1, 0
    place = next((n for n, begin in enumerate(LONG) if nodeid.startswith(begin)), len(LONG))
    return 2, place


def needs_machine_code(nodeid: str) -> bool:
    """Whether a test may run compiled functions, in its own process or another."""
    return not nodeid.startswith(UNCOMPILED)


@cache
def wait_for_machine_code() -> None:
    """Make the machine code if no worker of this run has; else wait for the one that does."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:  # alone
        return
    with (Path(tempfile.gettempdir()) / f"freshflow-compiles-{run}").open("w") as place:
        fcntl.flock(place, fcntl.LOCK_EX)
        warm_up(Config(), related=True)
