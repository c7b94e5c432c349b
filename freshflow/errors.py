"""Exceptions for failures that a user can cause or fix.

Each message is one sentence: the fault, its place and the remedy. Invalid *events* are values
(`freshflow.events.model.Rejected`), not exceptions: exceptions stop the job.
"""


class FreshFlowError(Exception):
    """A failure with a one-sentence message for the user; the command line prints it without a traceback."""


class ConfigError(FreshFlowError):
    """An invalid configuration key, environment variable or option."""


class InputError(FreshFlowError):
    """An unreadable input: a missing file, an unknown format, a missing topic."""


class OutputError(FreshFlowError):
    """An unwritable output: a missing folder, a full disk, a failed delivery."""


class BrokerError(FreshFlowError):
    """A Kafka broker that is unreachable, refuses the client, or has deleted requested records."""


class ProcessError(FreshFlowError):
    """A failed or killed process of the job; the other processes have been stopped."""


class SnapshotError(FreshFlowError):
    """A snapshot of another version or configuration, from which the job cannot resume."""


def find_user_error(error: BaseException | None) -> FreshFlowError | None:
    """Return the first `FreshFlowError` in an exception's chain of causes, or None.

    Bytewax wraps exceptions raised by a step in its own.
    """
    while error is not None and not isinstance(error, FreshFlowError):
        error = error.__cause__
    return error
