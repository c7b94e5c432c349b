"""`freshflow serve` as a process: over a file that grows, through percent-encoding, SIGTERM and a restart."""

import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.errors import ConfigError, OutputError
from tests.conftest import Finished, Running
from tests.serve.test_app import LIST

IDS = ["u1", "a/b", "50%", "a%2Fb", "ü ñ", "日本", "?k=1#x", "//", ".."]


class Server(NamedTuple):
    """A server that runs, and where."""

    process: Running
    port: int

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        return response.status, body

    def wait_until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Its health once that is as it should be."""
        end_s = time.monotonic() + 60
        while not holds(health := self.get("/healthz")[1]):
            assert time.monotonic() < end_s, health
            time.sleep(0.02)
        return health


@pytest.fixture
def serve(start: Callable[..., Running]) -> Callable[..., Server]:
    """Start `freshflow serve` at a free port."""

    def serve(*options: str) -> Server:
        process = start("freshflow.cli.main", "serve", "--port", 0, *options)
        assert process.stderr is not None
        said = process.stderr.readline()
        (port,) = re.findall(r"Serving .* at http://127\.0\.0\.1:(\d+)$", said)
        return Server(process, int(port))

    return serve


def append(path: Path, *several: object) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in several)


def test_lists_are_served_as_they_grow_and_from_where_it_was_after_sigterm(
    tmp_path: Path, serve: Callable[..., Server], finish: Callable[[Running], Finished]
) -> None:
    lists = tmp_path / "lists.jsonl"
    append(lists, *(LIST | {"user_id": user} for user in IDS))
    server = serve("--lists", "lists.jsonl")
    server.wait_until(lambda health: health["users"] == len(IDS))
    for user in IDS:
        status, body = server.get(f"/recommendations/{quote(user, safe='')}?k=1")
        assert (status, body["user_id"], len(body["items"])) == (200, user, 1)
    assert server.get("/recommendations/a/b")[1]["user_id"] == "a/b"
    assert server.get("/recommendations/%FF")[0] == 404
    append(lists, {"key": "a/b", "value": None}, LIST | {"user_id": "late", "computed_at": 7})
    server.wait_until(lambda health: health["inputs"][0]["tombstones"] == 1)
    assert server.get("/recommendations/a%2Fb")[0] == 404
    assert server.get("/recommendations/late")[1]["computed_at"] == 7
    server.process.send_signal(signal.SIGTERM)
    ended = finish(server.process)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    append(lists, LIST | {"user_id": "later"})
    again = serve("--lists", "lists.jsonl")
    assert again.get("/recommendations/late")[1]["computed_at"] == 7  # before anything is read
    health = again.wait_until(lambda health: health["users"] == len(IDS) + 1)
    assert health["inputs"][0]["records"] == 1
    assert again.get("/recommendations/a%2Fb")[0] == 404


def test_a_port_that_is_taken_and_a_missing_package_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["serve", "--lists", "lists.jsonl", "--port"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(app, [*command, str(taken.getsockname()[1])])
    assert isinstance(result.exception, OutputError)
    assert "Address already in use; give another --host or --port." in str(result.exception)
    monkeypatch.setattr("freshflow.cli.serve.NEEDED", ("starlette", "no_such_package"))
    result = CliRunner().invoke(app, [*command, "0"])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == (
        "freshflow serve needs no_such_package, which is not installed: pip install 'freshflow[serve]'."
    )
