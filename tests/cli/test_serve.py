"""`freshflow serve` as a process beside a job: what changes, what is forgotten, SIGTERM, and what is refused."""

import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.errors import ConfigError, OutputError
from freshflow.serving.server import open_listener
from tests.conftest import LIMIT_S, Finished, Running
from tests.serving.test_app import LIST

IDS = ["u1", "a/b", "50%", "a%2Fb", "ü ñ", "日本", "?k=1#x", "//", "..", "a/"]


class Server(NamedTuple):
    """A server that runs, and where."""

    process: Running
    port: int

    def ask(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, dict(response.getheaders()), body

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        status, _, body = self.ask("GET", path)
        return status, json.loads(body)

    def wait_until(self, holds: Callable[[dict[str, Any]], bool], path: str = "/healthz") -> dict[str, Any]:
        """What it answers once that is as it should be."""
        end_s = time.monotonic() + LIMIT_S
        while not holds(body := self.get(path)[1]):
            assert time.monotonic() < end_s, body
            time.sleep(0.02)
        return body


@pytest.fixture
def serve(start: Callable[..., Running]) -> Callable[..., Server]:
    """Start `freshflow serve` at a free port."""

    def serve(*options: str) -> Server:
        process = start("freshflow.cli.main", "serve", "--port", 0, *options)
        assert process.stderr is not None
        for said in process.stderr:
            if found := re.search(r"Serving .* at http://127\.0\.0\.1:(\d+)$", said):
                return Server(process, int(found[1]))
        raise AssertionError("it ended before it served")

    return serve


@pytest.fixture
def stopped(finish: Callable[[Running], Finished]) -> Callable[[Server], list[str]]:
    """Stop a server by SIGTERM; what it said since it began."""

    def stopped(server: Server) -> list[str]:
        server.process.send_signal(signal.SIGTERM)
        ended = finish(server.process)
        assert (ended.returncode, ended.stdout) == (0, "")
        return ended.stderr.splitlines()

    return stopped


def append(path: Path, *several: object) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in several)


def refuse_heads_that_do_not_end(server: Server) -> None:
    for begun in (b"GET /", b"GET / HTTP/1.1\r\nx: "):
        assert first_of_answer(server, begun + b"a" * 40_000) == b"HTTP/1.1 400 "
    body = b"POST /recommendations/u1 HTTP/1.1\r\nhost: h\r\ncontent-length: 60000\r\n\r\n" + b"a" * 60_000
    assert first_of_answer(server, body) == b"HTTP/1.1 405 "
    assert server.get(f"/recommendations/u1?{'x' * 20_000}")[0] == 200


def first_of_answer(server: Server, asked: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(asked)
        return connection.recv(13)


def test_what_a_job_writes_is_served_at_once_and_what_it_forgets_is_not(
    start: Callable[..., Running],
    finish: Callable[[Running], Finished],
    serve: Callable[..., Server],
    stopped: Callable[[Server], list[str]],
) -> None:
    job = start(
        "freshflow.cli.main", "run", "--input", "-", "--output", "lists.jsonl", "--quiet", stdin=subprocess.PIPE
    )
    assert job.stdin is not None
    ts = 1_764_000_000

    def happens(user: str, type: str = "view", **fields: object) -> None:
        nonlocal ts
        ts += 1
        print(json.dumps({"type": type, "user_id": user, "ts": ts} | fields), file=job.stdin, flush=True)

    server = serve("--lists", "lists.jsonl")
    happens("u1", item_id="i1")
    happens("u2", item_id="i2")
    first = server.wait_until(lambda body: "items" in body, "/recommendations/u2")
    happens("u2", item_id="i3")
    later = server.wait_until(lambda body: body["list_id"] != first["list_id"], "/recommendations/u2")
    assert {item["item_id"] for item in later["items"]} == {"i1", "i2", "i3"}
    happens("u2", "search", query="shoes", items=["s1"], request_id="r1")
    server.wait_until(lambda health: health["inputs"][0]["skipped"] == 1)
    assert server.get("/recommendations/u2")[1]["list_id"] == later["list_id"]
    happens("u1", "forget")
    server.wait_until(lambda body: "error" in body, "/recommendations/u1")
    assert server.get("/recommendations/u2")[0] == 200
    assert set(stopped(server)) <= {"WARNING freshflow: There is no file lists.jsonl; it is waited for."}
    happens("u3", item_id="i1")
    job.stdin.close()
    job.stdin = None
    assert finish(job).returncode == 0
    again = serve("--lists", "lists.jsonl")
    assert again.get("/recommendations/u2")[1]["list_id"] == later["list_id"]  # before anything is read
    health = again.wait_until(lambda health: health["users"] == 2)
    assert health["inputs"][0]["records"] == 1
    assert again.get("/recommendations/u1")[0] == 404
    assert stopped(again) == []


def test_any_id_but_no_endless_head_can_be_asked_for_and_a_file_that_is_replaced_is_read_anew(
    tmp_path: Path, serve: Callable[..., Server], stopped: Callable[[Server], list[str]]
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
    status, headers, body = server.ask("HEAD", "/recommendations/u1")
    assert (status, headers["content-length"], body) == (200, str(len(json.dumps(LIST))), b"")
    assert headers["cache-control"] == "no-store"
    refuse_heads_that_do_not_end(server)
    append(tmp_path / "next.jsonl", LIST | {"user_id": "a/b", "computed_at": 7})
    (tmp_path / "next.jsonl").replace(lists)
    server.wait_until(lambda health: health["users"] == 1)
    assert server.get("/recommendations/a%2Fb")[1]["computed_at"] == 7
    assert stopped(server) == [
        "WARNING freshflow: lists.jsonl was replaced or truncated: it is read from its beginning, and lists missing "
        "from it are dropped."
    ]


def test_no_part_of_an_answer_waits_for_the_receipt_of_another() -> None:
    with (
        open_listener("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_page_is_there_and_with_no_page_it_is_not(tmp_path: Path, serve: Callable[..., Server]) -> None:
    append(tmp_path / "lists.jsonl", LIST)
    for options, status in (((), 200), (("--no-page",), 404)):
        server = serve("--lists", "lists.jsonl", *options)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == status
        connection.close()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait()


def test_a_port_that_is_taken_and_a_missing_package_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["serve", "--lists", "lists.jsonl", "--port"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(app, [*command, str(taken.getsockname()[1])])
    assert isinstance(result.exception, OutputError)
    assert "Address already in use; give another --host or --port." in str(result.exception)
    monkeypatch.setattr("freshflow.cli.serve.REQUIRED_PACKAGES", ("starlette", "no_such_package"))
    result = CliRunner().invoke(app, [*command, "0"])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == (
        "freshflow serve needs no_such_package, which is not installed: pip install 'freshflow[serve]'."
    )
