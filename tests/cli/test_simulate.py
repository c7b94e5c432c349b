"""`freshflow simulate`, as it is called."""

import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from freshflow.cli.simulate import simulate
from freshflow.errors import ConfigError, OutputError

SMALL = ["--events", "300", "--users", "20", "--items", "30"]

app = typer.Typer()
app.command()(simulate)


def run(*arguments):
    return CliRunner().invoke(app, [*SMALL, *arguments])


def test_lines_go_to_standard_output_and_one_sentence_to_standard_error():
    done = run()
    assert done.exit_code == 0
    said = done.stderr.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"Wrote {done.stdout_bytes.count(10)} lines: 300 events of 20 users with 30 items")
    assert "8 broken" in said[0]


def test_clean_has_no_noise_and_says_so(tmp_path):
    path = tmp_path / "shop.jsonl"
    done = run("--clean", "--requests", "1", "--output", str(path))
    assert done.stdout == ""
    assert "300 requests" in done.stderr
    assert done.stderr.rstrip().endswith("noise: none.")
    assert path.read_bytes().count(b"\n") > 600


def test_shift_is_said_and_leaves_the_events_before_it_as_they_are():
    shifted, plain = run("--clean", "--shift", "150"), run("--clean")
    assert "with 30 items, shift at 150, " in shifted.stderr
    assert "shift" not in plain.stderr
    before = shifted.stdout.partition('"e150"')[0]
    assert '"e149"' in before
    assert plain.stdout.startswith(before.rpartition("\n")[0])
    assert plain.stdout != shifted.stdout


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--requests", "1.5"], ConfigError, "requests = 1.5 is not allowed: expected a share from 0 to 1."),
        (["--requests", "nan"], ConfigError, "requests = nan is not allowed"),
        (["--shift", "301"], ConfigError, "shift = 301 is not allowed: expected a whole number from 1 to 300."),
        (["--days", "0.01"], ConfigError, "days = 0.01 is not allowed: expected at least"),
        (
            ["--output", "/no/such/folder/x.jsonl"],
            OutputError,
            "Cannot write to /no/such/folder/x.jsonl: No such",
        ),
    ],
)
def test_what_is_not_allowed_is_said_in_one_sentence(arguments, error, words):
    done = run(*arguments)
    assert type(done.exception) is error
    assert str(done.exception).startswith(words)


def test_reader_that_goes_away_is_no_failure():
    script = "import typer; from freshflow.cli.simulate import simulate; typer.run(simulate)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script, "--events", "20000"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0
