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

from freshflow.cluster.protocol import Channel, Go, Job, Ready, Stop, Stopped, ToMember
from freshflow.errors import user_error
from freshflow.state.recovery_store import keeping_in
from freshflow.streaming.failure_recorder import Failures
from freshflow.streaming.job import Peers, StopFlag, build, run_flow
from freshflow.streaming.monitoring.logging import set_up_log
from freshflow.streaming.monitoring.progress import Progress

__all__ = ["main", "sleep_longer"]

COUNTS_EVERY_S = 0.5  # as often as a terminal shows them
STARTED_S = 0.5  # after which Bytewax has started its threads, which would inherit what is set before
SLACK_NS, OF_FIRST_THREAD = 50_000_000, Path("/proc/self/timerslack_ns")

log = logging.getLogger("freshflow")

T = TypeVar("T", Job, Go)


def main(index: int, descriptor: int) -> None:
    """Run one process of a job to its end."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    channel: Channel[ToMember] = Channel(socket.socket(fileno=descriptor), ToMember)
    failures = Failures()
    try:
        _run(index, channel, failures)
    except BaseException as error:  # a panic of Bytewax is no Exception
        channel.send(_stopped(failures.first or error))
        if isinstance(error, Exception) and failures.first is None and user_error(error) is None:
            log.exception("The process failed.")
        # Not `sys.exit`: threads of Bytewax that still unwind would abort a process that takes Python down.
        logging.shutdown()
        os._exit(1)


def _run(index: int, channel: Channel[ToMember], failures: Failures) -> None:
    told, progress, stop = channel.messages(), Progress(), StopFlag()
    job = _next(told, Job)
    set_up_log(job.config.log)
    recovery = Path(job.recovery) if job.recovery is not None else None
    keeping = keeping_in(recovery)
    flow = build(job.places, job.config, progress, stop, failures, keeping=keeping, variants=job.variants)
    channel.send(Ready())
    go = _next(told, Go)
    threading.Thread(target=_obey, args=(told, stop), daemon=True).start()
    done = threading.Event()
    counting = threading.Thread(target=_count, args=(channel, progress, done), daemon=True)
    counting.start()
    sleep_longer(STARTED_S)
    run_flow(flow, job.config, recovery, Peers(go.addresses, index))
    done.set()
    counting.join()
    channel.send(progress.counts())


def sleep_longer(after_s: float) -> None:
    """In `after_s` seconds, let the first thread sleep for up to 50 ms whenever it wants to sleep for less.

    In a cluster that is Bytewax's thread which looks for signals every millisecond, and takes interpreter and processor
    from the thread that works to do so: a tenth of the time of two processes on two cores. Only the first thread may
    say so of itself, and does when it handles a signal. It is Linux that knows of this; elsewhere all stays as it is.
    """

    def say(*_: object) -> None:
        with contextlib.suppress(OSError):
            OF_FIRST_THREAD.write_text(str(SLACK_NS))

    signal.signal(signal.SIGURG, say)  # which ends no process that does not handle it any more
    timer = threading.Timer(after_s, signal.pthread_kill, (threading.main_thread().ident, signal.SIGURG))
    timer.daemon = True
    timer.start()


def _next(told: Iterator[ToMember], expected: type[T]) -> T:
    message = next(told, None)
    if not isinstance(message, expected):  # the channel has ended
        os._exit(1)
    return message


def _obey(told: Iterator[ToMember], stop: StopFlag) -> None:
    for message in told:
        if isinstance(message, Stop):
            stop.is_set = True
    os._exit(1)


def _count(channel: Channel[ToMember], progress: Progress, done: threading.Event) -> None:
    while not done.wait(COUNTS_EVERY_S):
        channel.send(progress.counts())


def _stopped(error: BaseException) -> Stopped:
    """What a failure is to others; a panic that no step of this process caused follows from another process."""
    sentence = user_error(error)
    if sentence is not None:
        return Stopped(sentence=str(sentence))
    if not isinstance(error, Exception):
        return Stopped()
    return Stopped(error=f"{type(error).__name__}: {error}".splitlines()[-1])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
