"""Check of a job's inputs and outputs; nothing is created, emptied or written."""

from collections.abc import Callable, Iterator

from freshflow.config.schema import Config
from freshflow.io.findings import Finding, passed
from freshflow.io.registry import check
from freshflow.io.scheme import CheckOptions, StreamRole


def check_input(url: str, config: Config, n_processes: int, clock: Callable[[], int]) -> Iterator[Finding]:
    """Yield findings on the job's input.

    Args:
        url: The input.
        config: The job's configuration.
        n_processes: Processes of the job.
        clock: Processing time in epoch milliseconds.

    Raises:
        FreshFlowError: The input cannot be read.
    """
    options = CheckOptions(subject="input", role=StreamRole.EVENTS, clock=clock, n_processes=n_processes)
    yield from check(url, config, options)


def check_output(url: str | None, config: Config, options: CheckOptions) -> Iterator[Finding]:
    """Yield findings on an output of the job.

    Args:
        url: The output; None if the job has none of this role.
        config: The job's configuration.
        options: Subject and role of the output.

    Raises:
        FreshFlowError: The output cannot be written.
    """
    if url is None:
        yield passed(options.subject, "none")
    else:
        yield from check(url, config, options)
