"""Commands by name, imported on use: the packages of a job take a second, and few commands need them."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from freshflow._process import configure_job_process

# Help texts of `freshflow --help`: the first sentence of each function, such as `freshflow.cli.run:run`.
COMMAND_HELP = {
    "run": "Read events, keep every user's list fresh, and write the lists.",
    "check": "Check `freshflow run` with the same options, one line per check; exit code 1 if a check fails.",
    "evaluate": "Predict each event of a file from those before it, then learn it, and report list quality.",
    "explain": "Print a user's latest list with the reason for every item.",
    "forget": "Forget a user: the job drops the user's state when it reads the event, and publishes a tombstone and a "
    "receipt.",
    "serve": "Keep the latest list of every user in a store, and answer over HTTP, until SIGTERM.",
    "simulate": "Write the events of a simulated shop, to try FreshFlow on.",
    "schema": "Print a JSON Schema (2020-12), to validate records with or to generate code from.",
    "demo": "Show a live page on a simulated shop: its events, its lists and their quality.",
    "topics": "Manage the topics of a job.",
}

JOB_COMMANDS = ("run", "check", "evaluate")  # these process events, and need numpy, Numba and River


class LazyCommandGroup(TyperGroup):
    """Group of commands with static help texts; a command's module is imported when it is called."""

    def __init__(self, **settings: Any) -> None:
        commands = {name: TyperCommand(name, help=help_text) for name, help_text in COMMAND_HELP.items()}
        super().__init__(**settings | {"commands": commands})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the imported command and its remaining arguments."""
        name, command, remaining_args = super().resolve_command(ctx, args)
        return name, get_command(load_command_app(name)) if name else command, remaining_args


def load_command_app(name: str) -> typer.Typer:
    """Import a command or group of commands as an app, and configure this process for it."""
    if name in JOB_COMMANDS:
        configure_job_process()
    module = import_module(f"freshflow.cli.{name}")
    command_group: typer.Typer | None = getattr(module, "app", None)
    if command_group is not None:
        return command_group
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(getattr(module, name))
    return app
