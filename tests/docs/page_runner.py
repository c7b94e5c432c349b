"""Run a page of the documentation as a reader would: write its files, type its commands in order, compare the output.

| block | effect |
|---|---|
| any language with a file name | writes the file; if a command has written it already, compares its records (JSON) |
| `sh` | runs each line as a command; `freshflow serve` is started in the background on a free port |
| `python` | runs the program |
| `text` | must equal the output of the last command or program; a line `…` stands for any lines |
| `console` | sends each `$ curl URL` to the server, and compares the line below it |

Figures that depend on the machine or on the time of the run are not compared (`VOLATILE`, `VOLATILE_FIELDS`).
"""

import contextlib
import http.client
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.docs.pages import Block, blocks, call

BROKER = "localhost:9092"
SERVER_ADDRESS = "http://127.0.0.1:8080"
SHELL_SYNTAX = set("|&;<>$*")
# Times, speeds and memory differ from run to run.
VOLATILE = re.compile(
    r"""^(events a second|peak memory|event to list).*|(?<=ed_at":)\s*\d+|, made .* UTC """, re.MULTILINE
)
VOLATILE_FIELDS = {"computed_at", "rejected_at"}
TIMEOUT_S = 240


class PageRunner:
    """A page that is run in the current folder, with its server, if it starts one.

    Args:
        page: The page.
        broker: Address of the broker that stands for `BROKER` on the page.
    """

    def __init__(self, page: Path, broker: str = BROKER) -> None:
        self.blocks = blocks(page)
        self.broker = broker
        self.output = ""
        self.command = ""
        self.written_files: set[str] = set()
        self.server: subprocess.Popen[str] | None = None
        self.port = 0

    def run(self) -> None:
        """Run all blocks in order.

        Raises:
            AssertionError: A command fails, or its output is not the one on the page.
        """
        try:
            for block in self.blocks:
                self._run_block(block)
        finally:
            if self.server is not None:
                self.server.kill()
                self.server.communicate()

    def _run_block(self, block: Block) -> None:
        if block.name:
            self._write_or_compare(block)
        elif block.language == "sh":
            for command in split_commands(block.text.replace(BROKER, self.broker)):
                self._run_command(command)
        elif block.language == "python":
            self.output, self.command = run_python(block.text), "the Python program"
        elif block.language == "text":
            assert_output(block.text, self.output, self.command)
        elif block.language == "console":
            for url, answer in re.findall(r"^\$ curl '(.*)'\n(.*)$", block.text, re.MULTILINE):
                assert_records([json.loads(answer)], [self._get(url)], url)

    def _write_or_compare(self, block: Block) -> None:
        path = Path(block.name)
        if path.exists() and block.name not in self.written_files:
            written = [json.loads(line) for line in path.read_bytes().splitlines()]
            assert_records(list(parse_records(block.text)), written, block.name)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
        self.written_files.add(block.name)

    def _run_command(self, command: str) -> None:
        if command.startswith("freshflow serve "):
            self._start_server(command)
        elif not command.startswith("pip "):  # packages are installed
            self.output, self.command = run_command(command), command

    def _start_server(self, command: str) -> None:
        arguments = [sys.executable, "-m", "freshflow.cli.main", *shlex.split(command)[1:], "--port", "0"]
        self.server = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        assert self.server.stderr is not None
        (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)$", self.server.stderr.readline())
        self.port = int(port)
        end_s = time.monotonic() + TIMEOUT_S
        while self._get("/healthz")["status"] != "ok":
            assert time.monotonic() < end_s, "the server did not become ready"
            time.sleep(0.02)

    def _get(self, url: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", url.removeprefix(SERVER_ADDRESS))
        body: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return body


def split_commands(text: str) -> list[str]:
    """Split a block into commands: one a line, continued by a backslash, without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run_command(command: str) -> str:
    """Run a command and return its output; `freshflow` runs in this process, because Python starts slowly."""
    if command.startswith("freshflow ") and not SHELL_SYNTAX & set(command):
        return call(shlex.split(command)[1:], COLUMNS="80")
    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "COLUMNS": "80"}
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def run_python(code: str) -> str:
    """Run a program in this process and return its output."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {"__name__": "__main__"})
    return output.getvalue()


def parse_records(text: str) -> Iterator[dict[str, Any]]:
    """Parse JSON objects that follow each other; one may span several lines."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        record, end = decoder.raw_decode(rest)
        yield record
        rest = rest[end:].lstrip()


def assert_records(expected: list[Any], records: list[Any], origin: str) -> None:
    """Fail unless the expected records occur among the records, in this order."""
    remaining = iter(records)
    for record in expected:
        assert any(has_fields(record, one) for one in remaining), f"{origin} lacks {json.dumps(record)}"


def has_fields(expected: Any, value: Any) -> bool:
    """Return whether a value is the expected one; expected objects may lack fields, and expected lists their end."""
    if isinstance(expected, dict):
        return isinstance(value, dict) and all(
            name in value and (name in VOLATILE_FIELDS or has_fields(field, value[name]))
            for name, field in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) >= len(expected) and all(map(has_fields, expected, value))
    return bool(expected == value)


def assert_output(expected: str, output: str, command: str) -> None:
    """Fail unless a page shows the output of a command."""
    parts = [part.strip("\n") for part in re.split(r"^…$", normalize(expected), flags=re.MULTILINE)]
    pattern = r"(?:.*\n)?".join(re.escape(part) + ("\n" if part else "") for part in parts)
    assert re.fullmatch(pattern, normalize(output).strip("\n") + "\n", re.DOTALL), f"{command} printed\n{output}"


def normalize(text: str) -> str:
    """Remove volatile figures, and the widths of columns, which follow from them."""
    return "\n".join(re.sub("  +", "  ", line.rstrip()) for line in VOLATILE.sub("", text).splitlines())
