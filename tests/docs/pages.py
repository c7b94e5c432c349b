"""The pages and their blocks, for tests that run these."""

import re
import shlex
import signal
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.streaming.job import STOP_SIGNALS

__all__ = ["DOCS", "PAGES", "ROOT", "RUNNABLE", "Block", "blocks", "call", "commands", "write_files"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "freshflow" / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUNNABLE = ("sh", "bash", "toml", "json", "csv", "python")  # what a page shows for people to copy
FENCE = re.compile(r"^```(\w*) *(\S*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, the name behind it (of a file, mostly), and what is in it."""

    language: str
    name: str
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in these languages (all, if none are named), in order."""
    found = [Block(*parts) for parts in FENCE.findall(page.read_text("utf-8"))]
    return [block for block in found if not languages or block.language in languages]


def commands(page: Path, program: str = "freshflow") -> list[list[str]]:
    """The arguments of each call of a program in the blocks of a page for the shell, in order."""
    lines = "".join(block.text for block in blocks(page, "sh", "bash")).replace("\\\n", " ").splitlines()
    words = (shlex.split(line, comments=True) for line in lines)
    return [arguments for name, *arguments in filter(None, words) if Path(name).name == program]


def call(arguments: list[str], **environment: str) -> str:
    """Run `freshflow` with these arguments in this process and folder, to its end; what it printed."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}  # which a job takes over
    try:
        told = CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert told.exit_code == 0, told.output
    return told.output


def write_files(page: Path, folder: Path) -> None:
    """Write the blocks of a page that have the name of a file to a folder."""
    for block in blocks(page):
        if block.name:
            path = folder / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
