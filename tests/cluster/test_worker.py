"""Timer slack of a worker process: its main thread sleeps for longer, and no other thread does."""

import subprocess
import sys
from pathlib import Path

import pytest

SLACKS = """
import ctypes, threading, time
from freshflow.cluster.worker import raise_timer_slack

PR_GET_TIMERSLACK = 30
get = ctypes.CDLL(None).prctl

def work():
    begun.set()
    done.wait()
    found.append(get(PR_GET_TIMERSLACK, 0, 0, 0, 0))

found, begun, done = [get(PR_GET_TIMERSLACK, 0, 0, 0, 0)], threading.Event(), threading.Event()
worker = threading.Thread(target=work)
worker.start()
begun.wait()
raise_timer_slack(0.01)
while get(PR_GET_TIMERSLACK, 0, 0, 0, 0) == found[0]:
    time.sleep(0.001)
done.set()
worker.join()
print(*found, get(PR_GET_TIMERSLACK, 0, 0, 0, 0))
"""


@pytest.mark.skipif(not Path("/proc/self/timerslack_ns").exists(), reason="only Linux lets a thread say so")
def test_raise_timer_slack_changes_the_main_thread_alone() -> None:
    done = subprocess.run([sys.executable, "-c", SLACKS], capture_output=True, text=True, check=True, timeout=60)
    before, worker, first = map(int, done.stdout.split())
    assert before < 1_000_000
    assert worker == before
    assert first == 50_000_000
