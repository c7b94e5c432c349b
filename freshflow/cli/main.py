"""The command line: one file a command, and one sentence for every failure a user can cause."""

import logging
import sys

import typer

from freshflow import __version__
from freshflow.cli.commands import Commands
from freshflow.cli.stderr import panics_kept_back
from freshflow.errors import user_error
from freshflow.streaming.monitoring.logging import in_json

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="FreshFlow keeps recommendations fresh: behaviour events in, updated top-k lists out.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """FreshFlow keeps recommendations fresh: behaviour events in, updated top-k lists out."""


def main() -> None:
    """Run the command line; exit code 1 and one sentence on standard error for what a user can mend."""
    try:
        with panics_kept_back():
            logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
            app()
    except Exception as error:
        sentence = user_error(error)
        if sentence is None:
            raise
        if in_json():
            logging.getLogger("freshflow").error("%s", sentence)
        typer.echo(f"freshflow: {sentence}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
