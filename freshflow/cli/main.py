"""Entry point of the command line; reports each user error as one sentence."""

import logging
import sys

import typer

from freshflow import __version__
from freshflow.cli.commands import LazyCommandGroup
from freshflow.cli.stderr import defer_native_stderr
from freshflow.errors import find_user_error
from freshflow.streaming.monitoring.logging import is_json_logging

app = typer.Typer(
    cls=LazyCommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="FreshFlow keeps recommendations fresh: behaviour events in, updated top-k lists out.",
)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """FreshFlow keeps recommendations fresh: behaviour events in, updated top-k lists out."""


def main() -> None:
    """Run the command line; exit with code 1 and one sentence on standard error for an error the user can correct."""
    try:
        with defer_native_stderr():
            logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
            app()
    except Exception as error:
        message = find_user_error(error)
        if message is None:
            raise
        if is_json_logging():
            logging.getLogger("freshflow").error("%s", message)
        typer.echo(f"freshflow: {message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
