"""Generate the reference of commands from their functions and the annotations of the parameters."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

from typer.main import get_command_name
from typer.models import ArgumentInfo

from freshflow.cli.commands import COMMAND_HELP, load_command_app
from tests.docs.tables import table

WORDS = {int: "INTEGER", float: "FLOAT", str: "TEXT", Path: "PATH"}


class Parameter(NamedTuple):
    """A parameter of a command, as shown in the reference."""

    spelled: str
    default: str
    help: str
    required: bool


def commands() -> Iterator[tuple[str, Callable[..., None]]]:
    """Yield the full name and the function of each command, in the order of `--help`."""
    for name in COMMAND_HELP:
        app = load_command_app(name)
        prefix = f"{name} " if app.registered_callback else ""
        for command in app.registered_commands:
            yield f"freshflow {prefix}{command.name or get_command_name(command.callback.__name__)}", command.callback


def commands_reference() -> str:
    """Return a section for each command: its description and a table of its parameters."""
    return "\n\n".join(_command(name, function) for name, function in commands())


def _command(name: str, function: Callable[..., None]) -> str:
    parameters = list(_parameters(function))
    usage = " ".join([name, *(one.spelled for one in parameters if one.required), "[OPTIONS]"])
    rows = [(f"`{one.spelled}`", one.default, one.help) for one in parameters]
    return "\n\n".join(
        [f"## {name}", inspect.getdoc(function) or "", f"    {usage}", table(("option", "default", "meaning"), rows)]
    )


def _parameters(function: Callable[..., None]) -> Iterator[Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        type_, info = get_args(hints[name])
        needed = parameter.default is parameter.empty
        default = "required" if needed else _default(parameter.default, info.show_default)
        yield Parameter(_spelled(name, type_, info), default, " ".join((info.help or "").split()), needed)


def _spelled(name: str, type_: Any, info: Any) -> str:
    if isinstance(info, ArgumentInfo):
        return str(info.metavar)
    named = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str) and one.startswith("-")]
    option = "--" + name.replace("_", "-")
    if type_ is bool:
        return " / ".join(named or (option, f"--no-{option[2:]}"))
    (word,) = [WORDS.get(one, "") for one in get_args(type_) or (type_,) if one is not NoneType]
    return f"{' / '.join(named or (option,))} {info.metavar or word}"


def _default(value: Any, shown: bool | str) -> str:
    if isinstance(shown, str):
        return shown
    return "" if value in (None, False, "") else f"`{value}`"
