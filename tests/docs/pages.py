"""The pages of the documentation, their blocks and the commands in them, for tests."""

import re
import shlex
import signal
from pathlib import Path
from typing import Any, NamedTuple

from typer.main import get_command
from typer.testing import CliRunner

from freshflow.cli.commands import load_command_app
from freshflow.cli.main import app
from freshflow.streaming.job import STOP_SIGNALS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "freshflow" / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUNNABLE = ("sh", "bash", "python")  # languages of the blocks that a reader runs
FENCE = re.compile(r"^```(\w*) *(\S*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, the name of its file ("" for none), and its text."""

    language: str
    name: str
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of a page in these languages (in all if none are given), in order."""
    found = [Block(*parts) for parts in FENCE.findall(page.read_text("utf-8"))]
    return [block for block in found if not languages or block.language in languages]


def commands(page: Path, program: str = "freshflow") -> list[list[str]]:
    """Return the arguments of each call of a program in the shell blocks of a page, in order, up to a pipe."""
    lines = "".join(block.text for block in blocks(page, "sh", "bash")).replace("\\\n", " ").splitlines()
    words = (shlex.split(line.partition(" | ")[0], comments=True) for line in lines)
    return [arguments for name, *arguments in filter(None, words) if Path(name).name == program]


def call(arguments: list[str], **environment: str) -> str:
    """Run `freshflow` with these arguments in this process and folder, and return its output."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}  # a job replaces them
    try:
        done = CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert done.exit_code == 0, done.output
    return done.output


def parse_command(arguments: list[str]) -> None:
    """Parse a command line without running it.

    Args:
        arguments: Words after `freshflow`: the command, its subcommand if it has any, options and arguments.

    Raises:
        KeyError: The command is unknown.
        click.UsageError: An option or argument is unknown or missing.
    """
    name, *words = arguments
    command: Any = get_command(load_command_app(name))
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, list(words))


def write_files(page: Path, folder: Path) -> None:
    """Write the blocks of a page that have a file name into a folder."""
    for block in blocks(page):
        if block.name:
            path = folder / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
