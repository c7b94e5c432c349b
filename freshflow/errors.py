"""Failures a user can cause, each one sentence: what was wrong, where, and what to do.

Bad *events* are not errors but values (`freshflow.events.model.Rejected`); these exceptions are for a job that
cannot go on.
"""

__all__ = [
    "BrokerError",
    "ConfigError",
    "FreshFlowError",
    "InputError",
    "OutputError",
    "ProcessError",
    "SnapshotError",
    "find_user_error",
]


class FreshFlowError(Exception):
    """A failure whose message is one clear sentence for the user; the command line prints it without a traceback."""


class ConfigError(FreshFlowError):
    """A configuration key, environment variable or option has a value that is not allowed."""


class InputError(FreshFlowError):
    """An input cannot be read: a missing file, an unknown format, a topic that is not there."""


class OutputError(FreshFlowError):
    """An output cannot be written: a folder that is missing, a full disk, a delivery that failed."""


class BrokerError(FreshFlowError):
    """A Kafka broker cannot be reached, refuses us, or lost what we asked for."""


class ProcessError(FreshFlowError):
    """One of the processes of a job failed or was killed, and the others were stopped."""


class SnapshotError(FreshFlowError):
    """A snapshot is of another version or another configuration and cannot be resumed from."""


def find_user_error(error: BaseException | None) -> FreshFlowError | None:
    """The `FreshFlowError` that an error is or was caused by, if any: Bytewax wraps what a step raised in its own."""
    while error is not None and not isinstance(error, FreshFlowError):
        error = error.__cause__
    return error
