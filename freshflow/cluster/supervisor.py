"""A job as several processes on this machine, each a worker of one Bytewax cluster, started and watched from here.

The processes themselves are in `member.py`. Signals are taken by this process alone: those it starts have them
blocked, so that Ctrl-C, which reaches all of them, does not end one while the others wait for it.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from freshflow.cluster.protocol import Channel, FromMember, Go, Job, Ready, Stop, Stopped
from freshflow.errors import ProcessError
from freshflow.state.recovery_store import no_room
from freshflow.streaming.monitoring.progress import Counts, Progress
from freshflow.streaming.partitioning import partition_key, worker_of

__all__ = ["idle_processes", "run_cluster"]

HOST = "127.0.0.1"
POLL_S = 0.1  # how soon a signal is passed on
GRACE_S = 5.0  # for the others to close their files after one has failed; they notice within milliseconds
LISTEN_S = 30.0  # for a process to listen at its address, on a machine that is very busy
OURS = (signal.SIGINT, signal.SIGTERM)


def run_cluster(
    job: Job, processes: int, progress: Progress, stop: Callable[[], bool], lock: int | None = None
) -> None:
    """Run a job that is prepared (`job.prepare`) until its input ends, or until `stop` says so.

    `lock` is a descriptor for its processes to hold until they end; `progress` shows the sum over them. Raises
    `ProcessError` if one of them fails or is killed, after the others have been stopped.
    """
    members: list[_Member] = []
    try:
        for index in range(processes):
            members.append(_Member(index, job, lock))
        _watch(members, progress, stop)
    finally:
        for member in members:
            member.end()
    _raise_failure(members, job.recovery)


def idle_processes(partitions: int, processes: int) -> int:
    """How many processes have no partition to work on."""
    return processes - len({worker_of(partition_key(partition), processes) for partition in range(partitions)})


class _Member:
    """A process of the job, as seen from the one that started it."""

    def __init__(self, index: int, job: Job, lock: int | None) -> None:
        ours, theirs = socket.socketpair()
        self.channel: Channel[FromMember] = Channel(ours, FromMember)
        self.is_ready = False
        self.has_ended = False
        self.ended_here = False
        self.counts: Counts | None = None
        self.stopped: Stopped | None = None
        with theirs, _blocked(OURS):
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "freshflow.cluster.worker", str(index), str(theirs.fileno())],
                stdin=None if job.places.input == "-" else subprocess.DEVNULL,
                stderr=sys.stderr,  # which need not be descriptor 2
                env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)},
                pass_fds=[theirs.fileno(), *([lock] if lock is not None else [])],
            )
        self.pid = self._process.pid
        self.channel.send(job)

    @property
    def has_failed(self) -> bool:
        """Whether it said so, or ended otherwise than well."""
        return self.stopped is not None or (self.has_ended and self._process.returncode != 0)

    @property
    def killed_by(self) -> str | None:
        """The name of the signal that killed it, if one did and it was not sent from here."""
        code = self._process.returncode
        return signal.Signals(-code).name if code < 0 and not self.ended_here else None

    def hear(self) -> None:
        """Take in what it says, or that it has ended."""
        messages = self.channel.receive()
        for message in messages or ():
            if isinstance(message, Ready):
                self.is_ready = True
            elif isinstance(message, Counts):
                self.counts = message
            else:
                self.stopped = message
        if messages is None:
            self._process.wait()
            self.has_ended = True

    def listens(self, port: int) -> bool:
        """Whether it has got to listening at its port; True, too, if it never will."""
        return self._process.poll() is not None or _is_taken(port)

    def end(self) -> None:
        """Kill it if it still runs, and close the channel."""
        if not self.has_ended:
            self.ended_here = self._process.poll() is None
            self._process.kill()
            self._process.wait()
            self.has_ended = True
        self.channel.close()


def _watch(members: list[_Member], progress: Progress, stop: Callable[[], bool]) -> None:
    """Let them begin together, tell them to stop, add up what they count; return when all have ended or one has failed.

    A process notices within milliseconds that another is gone, and then ends, too.
    """
    begun = told = False
    end_s: float | None = None
    with selectors.DefaultSelector() as selector:
        for member in members:
            selector.register(member.channel, selectors.EVENT_READ, member)
        while selector.get_map() and (end_s is None or time.monotonic() < end_s):
            for key, _ in selector.select(POLL_S):
                key.data.hear()
                if key.data.has_ended:
                    selector.unregister(key.fileobj)
            progress.show_sum(member.counts for member in members if member.counts is not None)
            if end_s is None and any(member.has_failed for member in members):
                end_s = time.monotonic() + (GRACE_S if begun else 0.0)
            if not begun and all(member.is_ready for member in members):
                _begin(members)
                begun = True
            if begun and not told and stop():
                told = True
                for member in members:
                    member.channel.send(Stop())


def _begin(members: list[_Member]) -> None:
    """Tell everybody the addresses: the first first, as each connects to those before it and would wait a second."""
    with ExitStack() as held:
        ports = [_reserved_port(held) for _ in members]
        addresses = [f"{HOST}:{port}" for port in ports]
        for member, port in zip(members, ports, strict=True):
            member.channel.send(Go(addresses))
            # Nobody connects to the last one, which listens for an instant: it would be waited for in vain, and
            # meanwhile no signal would be passed on.
            end_s = time.monotonic() + (LISTEN_S if member is not members[-1] else 0.0)
            while not member.listens(port) and time.monotonic() < end_s:
                time.sleep(0.005)


def _reserved_port(held: ExitStack) -> int:
    """A port that nobody else is given while `held` is open.

    Linux lets another socket listen at a port that is bound here, as long as both allow it, and Rust's do.
    """
    holder = held.enter_context(_bound(0))
    return int(holder.getsockname()[1])


def _is_taken(port: int) -> bool:
    try:
        _bound(port).close()
    except OSError:
        return True
    return False


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def _blocked(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Block signals meanwhile; a process that is started here has them blocked for good."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _raise_failure(members: list[_Member], recovery: str | None) -> None:
    """Tell what came first: the others failed because one of them was gone."""
    failed = [member for member in members if member.has_failed]
    if not failed:
        return
    for member in failed:
        if member.stopped is not None and member.stopped.sentence is not None:
            raise ProcessError(member.stopped.sentence)
    for number, member in enumerate(members, start=1):
        who = f"Process {number} of {len(members)} (pid {member.pid})"
        if member.killed_by is not None:
            raise ProcessError(f"{who} was killed by {member.killed_by}; {_cure(recovery)}.")
        if member.stopped is not None and member.stopped.error is not None:
            raise ProcessError(f"{who} failed: {member.stopped.error}; what led to it is logged above.")
    full = no_room(Path(recovery)) if recovery is not None else None
    if full is not None:  # of which Bytewax says nothing in a cluster
        raise full
    raise ProcessError(
        "The processes of the job stopped without saying why; one alone does: run it with --processes 1."
    )


def _cure(recovery: str | None) -> str:
    if recovery is None:
        return "start the job again; with --recovery it would go on from its last snapshot"
    return f"start the job again with --recovery {recovery}, and it goes on from its last snapshot"
