"""A real Redis, where there is a binary of it, started here and ended here."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BINARY = next(filter(None, map(shutil.which, ("redis-server", "valkey-server"))), None)


class RedisServer:
    """A server that a test may stop and start; it keeps what it holds in an append-only file."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = int(taken.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.start()

    def start(self) -> None:
        command = [str(BINARY), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError("Redis did not start.")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def new_redis(tmp_path: Path) -> Iterator[Callable[[], RedisServer]]:
    """Start a Redis of one's own, or skip the test."""
    if BINARY is None:
        pytest.skip("no redis-server here (apt-get install redis-server)")
    begun: list[RedisServer] = []

    def new_redis() -> RedisServer:
        begun.append(RedisServer(tmp_path))
        return begun[-1]

    yield new_redis
    for server in begun:
        server.stop()
