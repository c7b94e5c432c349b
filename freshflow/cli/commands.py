"""The commands by name, each loaded when it is called: what a job needs takes a second to import, and few need it."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from freshflow._process import configure_job_process

# What `freshflow --help` says of each, which is the first sentence of its function: `freshflow.cli.run:run` and so on.
COMMAND_HELP = {
    "run": "Read events, keep every user's list fresh, and write the lists.",
    "check": "Say whether `freshflow run` with the same options would work, a line each; exit code 1 if it would not.",
    "evaluate": "Predict each event of a file from those before it, then learn from it, and say how good the lists "
    "were.",
    "explain": "Print a user's latest list with the reason for every item.",
    "forget": "Forget a user: the job drops what it knows when it reads the event, and publishes a tombstone and a "
    "receipt.",
    "serve": "Keep the latest list of every user in a store, and answer over HTTP, until SIGTERM.",
    "simulate": "Write the events of a shop that does not exist, to try FreshFlow on.",
    "schema": "Print a JSON Schema (2020-12), to validate records with or to generate code from.",
    "demo": "Show a live page on a simulated shop: what its visitors do, their lists, and how good these are.",
    "topics": "The topics of a job.",
}

JOB_COMMANDS = ("run", "check", "evaluate")  # these process events, and need numpy, Numba and River


class LazyCommandGroup(TyperGroup):
    """A group that knows of its commands only what its help says, until one of them is called."""

    def __init__(self, **settings: Any) -> None:
        commands = {name: TyperCommand(name, help=help_text) for name, help_text in COMMAND_HELP.items()}
        super().__init__(**settings | {"commands": commands})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` begin with, loaded, and the arguments that are left to it."""
        name, command, remaining_args = super().resolve_command(ctx, args)
        return name, get_command(load_command_app(name)) if name else command, remaining_args


def load_command_app(name: str) -> typer.Typer:
    """Return the command or group of commands of this name as an app of its own, and prepare this process for it."""
    if name in JOB_COMMANDS:
        configure_job_process()
    module = import_module(f"freshflow.cli.{name}")
    command_group: typer.Typer | None = getattr(module, "app", None)
    if command_group is not None:
        return command_group
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(getattr(module, name))
    return app
