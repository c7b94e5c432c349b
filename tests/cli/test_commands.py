"""The commands, loaded when they are called."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from freshflow.cli.commands import COMMAND_HELP, load_command_app
from freshflow.cli.main import app

OF_A_JOB = {"bytewax", "numba", "river", "scipy"}
LOADED = """
import sys
from pathlib import Path
from freshflow.cli.main import main
sys.argv[1:] = {arguments}
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def loaded_by(*arguments: str, folder: Path) -> set[str]:
    """The modules that are there when a command has ended."""
    told = [sys.executable, "-c", LOADED.format(arguments=list(arguments))]
    return set(subprocess.run(told, capture_output=True, text=True, cwd=folder).stderr.split())


@pytest.mark.parametrize("name", COMMAND_HELP)
def test_help_says_of_a_command_what_it_says_of_itself(name: str) -> None:
    command = get_command(load_command_app(name))
    assert inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ") == COMMAND_HELP[name]


def test_help_names_all_commands() -> None:
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300"}).output
    assert [name for name in COMMAND_HELP if name not in told or COMMAND_HELP[name] not in told] == []


def test_a_name_that_is_nearly_a_command_is_answered_with_the_command() -> None:
    done = CliRunner().invoke(app, ["expalin"], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert "No such command 'expalin'. Did you mean 'explain'?" in done.output


def test_only_what_runs_a_job_loads_what_a_job_needs(tmp_path: Path) -> None:
    of_a_command = {
        "--help": OF_A_JOB,
        "run --help": set(),
        "schema events": OF_A_JOB,
        "simulate --events 10 --output e.jsonl": OF_A_JOB,
        "explain u1 --lists no.jsonl": OF_A_JOB,
        "forget u1 --input e.jsonl": OF_A_JOB,
        "serve --lists no.jsonl --store no/s.sqlite": OF_A_JOB,
        "topics create kafka://": OF_A_JOB,
    }
    for command, without in of_a_command.items():
        assert loaded_by(*command.split(), folder=tmp_path) & OF_A_JOB <= OF_A_JOB - without, command
