"""One of the processes of a job: `python -m freshflow.cluster.worker <index> <descriptor>`, started by `cluster.py`.

It does what it is told over its channel, and ends at once when the channel does: then the process that started it is
gone, and whoever starts the job again must not find this one still writing.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
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
from freshflow.errors import find_user_error
from freshflow.state.recovery_store import open_state_backend
from freshflow.streaming.observed import FailureRecorder
from freshflow.streaming.job import Peers, StopFlag, build, run_flow
from freshflow.streaming.monitoring.logging import configure_logging
from freshflow.streaming.monitoring.progress import JobStats

__all__ = ["main", "raise_timer_slack"]

STATS_INTERVAL_S = 0.5  # as often as a terminal shows them
BYTEWAX_START_S = 0.5  # after which Bytewax has started its threads, which would inherit what is set before
TIMER_SLACK_NS, TIMER_SLACK_PATH = 50_000_000, Path("/proc/self/timerslack_ns")

_logger = logging.getLogger("freshflow")

_ControlMessageT = TypeVar("_ControlMessageT", JobSpec, StartWorker)


def main(index: int, socket_fd: int) -> None:
    """Run one process of a job to its end."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    channel: Channel[MessageToWorker] = Channel(socket.socket(fileno=socket_fd), MessageToWorker)
    failures = FailureRecorder()
    try:
        _run(index, channel, failures)
    except BaseException as error:  # a panic of Bytewax is no Exception
        channel.send(_failure_message(failures.first_error or error))
        if isinstance(error, Exception) and failures.first_error is None and find_user_error(error) is None:
            _logger.exception("The process failed.")
        # Not `sys.exit`: threads of Bytewax that still unwind would abort a process that takes Python down.
        logging.shutdown()
        os._exit(1)


def _run(index: int, channel: Channel[MessageToWorker], failures: FailureRecorder) -> None:
    messages, job_stats, stop_flag = channel.messages(), JobStats(), StopFlag()
    job = _receive(messages, JobSpec)
    configure_logging(job.config.log)
    recovery = Path(job.recovery) if job.recovery is not None else None
    state_backend = open_state_backend(recovery)
    flow = build(
        job.urls, job.config, job_stats, stop_flag, failures, state_backend=state_backend, variants=job.variants
    )
    channel.send(WorkerReady())
    start_message = _receive(messages, StartWorker)
    threading.Thread(target=_handle_control_messages, args=(messages, stop_flag), daemon=True).start()
    stop_event = threading.Event()
    stats_thread = threading.Thread(target=_send_stats, args=(channel, job_stats, stop_event), daemon=True)
    stats_thread.start()
    raise_timer_slack(BYTEWAX_START_S)
    run_flow(flow, job.config, recovery, Peers(start_message.addresses, index))
    stop_event.set()
    stats_thread.join()
    channel.send(job_stats.snapshot())


def raise_timer_slack(delay_s: float) -> None:
    """In `delay_s` seconds, let the first thread sleep for up to 50 ms whenever it wants to sleep for less.

    In a cluster that is Bytewax's thread which looks for signals every millisecond, and takes interpreter and processor
    from the thread that works to do so: a tenth of the time of two processes on two cores. Only the first thread may
    say so of itself, and does when it handles a signal. It is Linux that knows of this; elsewhere all stays as it is.
    """

    def write_slack(*_: object) -> None:
        with contextlib.suppress(OSError):
            TIMER_SLACK_PATH.write_text(str(TIMER_SLACK_NS))

    signal.signal(signal.SIGURG, write_slack)  # which ends no process that does not handle it any more
    timer = threading.Timer(delay_s, signal.pthread_kill, (threading.main_thread().ident, signal.SIGURG))
    timer.daemon = True
    timer.start()


def _receive(messages: Iterator[MessageToWorker], message_type: type[_ControlMessageT]) -> _ControlMessageT:
    message = next(messages, None)
    if not isinstance(message, message_type):  # the channel has ended
        os._exit(1)
    return message


def _handle_control_messages(messages: Iterator[MessageToWorker], stop_flag: StopFlag) -> None:
    for message in messages:
        if isinstance(message, StopWorker):
            stop_flag.is_set = True
    os._exit(1)


def _send_stats(channel: Channel[MessageToWorker], job_stats: JobStats, stop_event: threading.Event) -> None:
    while not stop_event.wait(STATS_INTERVAL_S):
        channel.send(job_stats.snapshot())


def _failure_message(error: BaseException) -> WorkerFailure:
    """What a failure is to others; a panic that no step of this process caused follows from another process."""
    user_message = find_user_error(error)
    if user_message is not None:
        return WorkerFailure(user_message=str(user_message))
    if not isinstance(error, Exception):
        return WorkerFailure()
    return WorkerFailure(error=f"{type(error).__name__}: {error}".splitlines()[-1])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
