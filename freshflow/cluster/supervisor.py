"""Supervisor of a job that runs as several processes on this machine, each a worker of one Bytewax cluster.

The processes themselves run `freshflow.cluster.worker`. Only the supervisor handles signals: its workers have them
blocked, so that Ctrl-C, which reaches all processes, does not end one while the others wait for it.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path

from freshflow.cluster.protocol import (
    Channel,
    JobSpec,
    MessageFromWorker,
    StartWorker,
    StopWorker,
    WorkerFailure,
    WorkerReady,
)
from freshflow.errors import ProcessError
from freshflow.state.bytewax_store import worker_of
from freshflow.state.recovery_store import disk_full_error
from freshflow.streaming.monitoring.progress import JobStats, JobStatsSnapshot
from freshflow.streaming.partitioning import partition_key

LOOPBACK_HOST = "127.0.0.1"
SUPERVISOR_POLL_S = 0.1  # longest delay until a signal is passed on
FAILURE_GRACE_S = 5.0  # for the others to close their files after a failure, which they notice within milliseconds
LISTEN_TIMEOUT_S = 30.0  # for a worker to listen at its address on a very busy machine
FORWARDED_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_cluster(
    job: JobSpec, n_processes: int, job_stats: JobStats, should_stop: Callable[[], bool], lock_fd: int | None = None
) -> None:
    """Run a prepared job (`freshflow.streaming.job.prepare`) until its input ends or it is told to stop.

    Args:
        job: The job.
        n_processes: Number of workers.
        job_stats: Statistics, which become the sum over the workers.
        should_stop: Once it returns true, the workers end their sources.
        lock_fd: A file descriptor that the workers hold open until they end.

    Raises:
        ProcessError: A worker failed or was killed; the others have been stopped.
    """
    workers: list[_WorkerProcess] = []
    try:
        for index in range(n_processes):
            workers.append(_WorkerProcess(index, job, lock_fd))
        _supervise(workers, job_stats, should_stop)
    finally:
        for worker in workers:
            worker.kill_and_close()
    _raise_failure(workers, job.recovery)


def count_idle_processes(n_partitions: int, n_processes: int) -> int:
    """Return the number of processes without a partition."""
    return n_processes - len({worker_of(partition_key(partition), n_processes) for partition in range(n_partitions)})


class _WorkerProcess:
    """A worker process, as its supervisor sees it."""

    def __init__(self, index: int, job: JobSpec, lock_fd: int | None) -> None:
        connection, worker_connection = Pipe()
        self.channel: Channel[MessageFromWorker] = Channel(connection, MessageFromWorker)
        self.is_ready = False
        self.has_ended = False
        self.was_killed_here = False
        self.stats: JobStatsSnapshot | None = None
        self.failure: WorkerFailure | None = None
        with worker_connection, _block_signals(FORWARDED_SIGNALS):
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "freshflow.cluster", str(index), str(worker_connection.fileno())],
                stdin=None if job.urls.input == "-" else subprocess.DEVNULL,
                stderr=sys.stderr,  # it may not be descriptor 2
                env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)},
                pass_fds=[worker_connection.fileno(), *([lock_fd] if lock_fd is not None else [])],
            )
        self.pid = self._process.pid
        self.channel.send(job)

    @property
    def has_failed(self) -> bool:
        """Flag of a reported failure or a nonzero exit code."""
        return self.failure is not None or (self.has_ended and self._process.returncode != 0)

    @property
    def kill_signal(self) -> str | None:
        """Name of the signal that killed the worker; None if none did, or the supervisor sent it."""
        exit_code = self._process.returncode
        return signal.Signals(-exit_code).name if exit_code < 0 and not self.was_killed_here else None

    def receive_message(self) -> None:
        """Receive one message, or the end of the worker."""
        message = self.channel.receive()
        if message is None:
            self._process.wait()
            self.has_ended = True
        elif isinstance(message, WorkerReady):
            self.is_ready = True
        elif isinstance(message, JobStatsSnapshot):
            self.stats = message
        else:
            self.failure = message

    def is_listening(self, port: int) -> bool:
        """Return whether the worker listens at its port, or has ended and never will."""
        return self._process.poll() is not None or _is_port_in_use(port)

    def kill_and_close(self) -> None:
        """Kill the worker if it still runs, and close the channel."""
        if not self.has_ended:
            self.was_killed_here = self._process.poll() is None
            self._process.kill()
            self._process.wait()
            self.has_ended = True
        self.channel.close()


def _supervise(workers: list[_WorkerProcess], job_stats: JobStats, should_stop: Callable[[], bool]) -> None:
    """Start the workers together, stop them, and sum their statistics, until all have ended or one has failed.

    A worker notices within milliseconds that another is gone, and then ends, too.
    """
    has_started = is_stop_sent = False
    deadline_s: float | None = None
    running = {worker.channel.connection: worker for worker in workers}
    while running and (deadline_s is None or time.monotonic() < deadline_s):
        for connection in wait([*running], SUPERVISOR_POLL_S):
            worker = running[connection]  # type: ignore[index]  # they are connections, as they were given
            worker.receive_message()
            if worker.has_ended:
                del running[worker.channel.connection]
        job_stats.replace_with_sum(worker.stats for worker in workers if worker.stats is not None)
        if deadline_s is None and any(worker.has_failed for worker in workers):
            deadline_s = time.monotonic() + (FAILURE_GRACE_S if has_started else 0.0)
        if not has_started and all(worker.is_ready for worker in workers):
            _start_workers(workers)
            has_started = True
        if has_started and not is_stop_sent and should_stop():
            is_stop_sent = True
            for worker in workers:
                worker.channel.send(StopWorker())


def _start_workers(workers: list[_WorkerProcess]) -> None:
    """Send the addresses to the workers in order: each connects to those before it, and retries only every second."""
    with ExitStack() as reservations:
        ports = [_reserve_port(reservations) for _ in workers]
        addresses = [f"{LOOPBACK_HOST}:{port}" for port in ports]
        for worker, port in zip(workers, ports, strict=True):
            worker.channel.send(StartWorker(addresses))
            # No worker connects to the last one, which listens for an instant only: waiting for it would delay signals.
            deadline_s = time.monotonic() + (LISTEN_TIMEOUT_S if worker is not workers[-1] else 0.0)
            while not worker.is_listening(port) and time.monotonic() < deadline_s:
                time.sleep(0.005)


def _reserve_port(reservations: ExitStack) -> int:
    """Reserve a free port for as long as `reservations` is open.

    Linux lets another socket listen at a port that is bound here if both set SO_REUSEADDR, as Rust's do.
    """
    bound_socket = reservations.enter_context(_bind_socket(0))
    return int(bound_socket.getsockname()[1])


def _is_port_in_use(port: int) -> bool:
    try:
        _bind_socket(port).close()
    except OSError:
        return True
    return False


def _bind_socket(port: int) -> socket.socket:
    bound_socket = socket.socket()
    bound_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound_socket.bind((LOOPBACK_HOST, port))
    except OSError:
        bound_socket.close()
        raise
    return bound_socket


@contextmanager
def _block_signals(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Block signals within the context; a process started there has them blocked for its lifetime."""
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)


def _raise_failure(workers: list[_WorkerProcess], recovery: str | None) -> None:
    """Raise the failure that came first; the other workers failed because a peer was gone."""
    failed_workers = [worker for worker in workers if worker.has_failed]
    if not failed_workers:
        return
    for worker in failed_workers:
        if worker.failure is not None and worker.failure.user_message is not None:
            raise ProcessError(worker.failure.user_message)
    for number, worker in enumerate(workers, start=1):
        worker_name = f"Process {number} of {len(workers)} (pid {worker.pid})"
        if worker.kill_signal is not None:
            raise ProcessError(f"{worker_name} was killed by {worker.kill_signal}; {_remedy(recovery)}.")
        if worker.failure is not None and worker.failure.error is not None:
            raise ProcessError(f"{worker_name} failed: {worker.failure.error}; the log above has its traceback.")
    disk_error = disk_full_error(Path(recovery)) if recovery is not None else None
    if disk_error is not None:  # Bytewax does not report it in a cluster
        raise disk_error
    raise ProcessError(
        "The processes of the job stopped without an error; run it with --processes 1, which reports it."
    )


def _remedy(recovery: str | None) -> str:
    if recovery is None:
        return "start the job again; with --recovery it would go on from its last snapshot"
    return f"start the job again with --recovery {recovery}, and it goes on from its last snapshot"
