"""Worker process of a job: `python -m freshflow.cluster <index> <descriptor>`, started by the supervisor.

It obeys the messages of its channel and ends at once when the channel is closed: the supervisor is gone then, and a job
that is started again must not find this process still writing.
"""

import contextlib
import logging
import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from freshflow.cluster.protocol import (
    Channel,
    JobSpec,
    MessageToWorker,
    StartWorker,
    StopWorker,
    WorkerFailure,
    WorkerReady,
)
from freshflow.config.plugins import import_plugins
from freshflow.errors import find_user_error
from freshflow.state.recovery_store import open_state_backend
from freshflow.streaming.job import Peers, StopFlag, build, run_flow
from freshflow.streaming.monitoring.logging import configure_logging
from freshflow.streaming.monitoring.progress import JobStats
from freshflow.streaming.observed import FailureRecorder

STATS_INTERVAL_S = 0.5  # the refresh interval of the progress line
BYTEWAX_START_S = 0.5  # until Bytewax has started its threads, which would inherit an earlier setting
TIMER_SLACK_NS, TIMER_SLACK_PATH = 50_000_000, Path("/proc/self/timerslack_ns")

_logger = logging.getLogger("freshflow")

_ControlMessageT = TypeVar("_ControlMessageT", JobSpec, StartWorker)


def main(index: int, channel_fd: int) -> None:
    """Run one worker of a job to its end.

    Args:
        index: Number of the worker, from 0.
        channel_fd: The inherited file descriptor of its channel.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    channel: Channel[MessageToWorker] = Channel(Connection(channel_fd), MessageToWorker)
    failures = FailureRecorder()
    try:
        _run(index, channel, failures)
    except BaseException as error:  # a panic of Bytewax is not an Exception
        channel.send(_failure_message(failures.first_error or error))
        if isinstance(error, Exception) and failures.first_error is None and find_user_error(error) is None:
            _logger.exception("The process failed.")
        # Not `sys.exit`: threads of Bytewax that still unwind would abort a process that finalises Python.
        logging.shutdown()
        os._exit(1)


def _run(index: int, channel: Channel[MessageToWorker], failures: FailureRecorder) -> None:
    job_stats, stop_flag = JobStats(), StopFlag()
    job = _receive(channel, JobSpec)
    configure_logging(job.config.log)
    import_plugins(job.config.plugins.modules)
    recovery = Path(job.recovery) if job.recovery is not None else None
    state_backend = open_state_backend(recovery)
    flow = build(
        job.urls, job.config, job_stats, stop_flag, failures, state_backend=state_backend, variants=job.variants
    )
    channel.send(WorkerReady())
    start_message = _receive(channel, StartWorker)
    threading.Thread(target=_handle_control_messages, args=(channel, stop_flag), daemon=True).start()
    stop_event = threading.Event()
    stats_thread = threading.Thread(target=_send_stats, args=(channel, job_stats, stop_event), daemon=True)
    stats_thread.start()
    raise_timer_slack(BYTEWAX_START_S)
    run_flow(flow, job.config, recovery, Peers(start_message.addresses, index))
    stop_event.set()
    stats_thread.join()
    channel.send(job_stats.snapshot())


def raise_timer_slack(delay_s: float) -> None:
    """Raise the timer slack of the main thread to 50 ms after `delay_s` seconds.

    In a cluster Bytewax's main thread wakes every millisecond to check for signals, and takes the interpreter and a
    core from the working thread: a tenth of the time of two processes on two cores. Only the main thread can set its
    own slack, and does so when it handles a signal. Timer slack exists on Linux only; elsewhere nothing happens.
    """

    def write_slack(*_: object) -> None:
        with contextlib.suppress(OSError):
            TIMER_SLACK_PATH.write_text(str(TIMER_SLACK_NS))

    signal.signal(signal.SIGURG, write_slack)  # ignored by default, so it cannot end a process
    timer = threading.Timer(delay_s, signal.pthread_kill, (threading.main_thread().ident, signal.SIGURG))
    timer.daemon = True
    timer.start()


def _receive(channel: Channel[MessageToWorker], message_type: type[_ControlMessageT]) -> _ControlMessageT:
    message = channel.receive()
    if not isinstance(message, message_type):  # the channel is closed
        os._exit(1)
    return message


def _handle_control_messages(channel: Channel[MessageToWorker], stop_flag: StopFlag) -> None:
    while (message := channel.receive()) is not None:
        if isinstance(message, StopWorker):
            stop_flag.is_set = True
    os._exit(1)


def _send_stats(channel: Channel[MessageToWorker], job_stats: JobStats, stop_event: threading.Event) -> None:
    while not stop_event.wait(STATS_INTERVAL_S):
        channel.send(job_stats.snapshot())


def _failure_message(error: BaseException) -> WorkerFailure:
    """Return an error as a message; a panic without an error of this process's steps follows from another process."""
    user_message = find_user_error(error)
    if user_message is not None:
        return WorkerFailure(user_message=str(user_message))
    if not isinstance(error, Exception):
        return WorkerFailure()
    return WorkerFailure(error=f"{type(error).__name__}: {error}".splitlines()[-1])
