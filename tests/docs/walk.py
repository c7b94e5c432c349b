"""Pages of the documentation, run as a reader would: files written, commands typed in order, output compared.

A fenced block with a file name writes that file. A block of `sh` is run, a command a line, and a block of `text` right
behind it is what its last command prints; `…` alone on a line there stands for any lines. A block of `python` without a
name is run, too. Figures that depend on the machine are not compared (`VOLATILE`).
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, blocks, call

__all__ = ["run_page"]

BROKER = "localhost:9092"
SHELL = set("|&;<>$*")
# What differs from run to run: times, speeds, memory.
VOLATILE = re.compile(
    r"""^(events a second|peak memory|event to list).*|(?<=ed_at":)\s*\d+|, made .* UTC """, re.MULTILINE
)
LIMIT_S = 240


def run_page(page: str, broker: str = BROKER) -> None:
    """Do what a page says in the current folder; it fails where a command fails or prints something else.

    Where it says `BROKER`, `broker` is meant.
    """
    printed, ran = "", ""
    for block in blocks(DOCS / page):
        if block.name:
            Path(block.name).write_text(block.text, "utf-8")
        elif block.language == "sh":
            for ran in lines_of(block.text.replace(BROKER, broker)):
                printed = run_command(ran)
        elif block.language == "python":
            printed, ran = run_python(block.text), "the Python above"
        elif block.language == "text":
            assert_printed(block.text, printed, ran)


def lines_of(text: str) -> list[str]:
    """The commands of a block; a backslash at a line's end continues it, and comments are none."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run_command(command: str) -> str:
    """What a command prints: ours in this process, as Python starts slowly, and others in a shell."""
    if command.startswith("freshflow ") and not SHELL & set(command):
        return call(shlex.split(command)[1:], COLUMNS="80")
    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "COLUMNS": "80"}
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}"
    return ran.stdout


def run_python(code: str) -> str:
    """What a program prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {"__name__": "__main__"})
    return printed.getvalue()


def assert_printed(shown: str, printed: str, ran: str) -> None:
    """Fail unless a page shows what was printed."""
    parts = [part.strip("\n") for part in re.split(r"^…$", steady(shown), flags=re.MULTILINE)]
    pattern = r"(?:.*\n)?".join(re.escape(part) + ("\n" if part else "") for part in parts)
    assert re.fullmatch(pattern, steady(printed).strip("\n") + "\n", re.DOTALL), f"{ran} printed\n{printed}"


def steady(text: str) -> str:
    """A text without what differs from run to run, nor how wide its columns are, which follows from that."""
    return "\n".join(re.sub("  +", "  ", line.rstrip()) for line in VOLATILE.sub("", text).splitlines())
