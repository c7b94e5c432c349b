"""Command `freshflow forget`: makes a running job forget a user, and deletes the user's published list."""

import os
import sys
from typing import Annotated

import typer

from freshflow.cli.clock import wall_clock_ms
from freshflow.cli.options import ConfigFile
from freshflow.config.loader import load_config
from freshflow.errors import ConfigError
from freshflow.events.fields import MAX_ID_CHARS
from freshflow.events.identity import ANONYMOUS_PREFIX
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.io.registry import append_event, check_distinct, write_tombstone


def forget(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id, as in events.")],
    input: Annotated[
        str | None, typer.Option(metavar="URL", help="The job's input, to which the forget event is appended.")
    ] = None,
    guest: Annotated[
        bool, typer.Option(help="USER is the session_id or guest_id of a guest, in a job with users.guests.")
    ] = False,
    output: Annotated[
        str | None, typer.Option(metavar="URL", help="The job's topic of lists, to which a tombstone is written.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Forget a user: the job drops the user's state when it reads the event, and publishes a tombstone and a receipt.

    The tombstone of --output does not wait for the job. Remaining data: see freshflow/docs/explanation/privacy.md.
    """
    settings = load_config(config, os.environ)
    if input is None and output is None:
        raise ConfigError("Nothing to do: give the job's --input, its --output, or both.")
    if not user or len(user) > MAX_ID_CHARS or not _is_valid_utf8(user):
        raise ConfigError(f"USER is no id that an event could have: give 1 to {MAX_ID_CHARS} characters in UTF-8.")
    check_distinct({"--input": input, "--output": output})
    if input is not None:
        id_field = "session_id" if guest else "user_id"
        event: dict[str, str | int] = {"type": "forget", id_field: user, "ts": wall_clock_ms()}
        for source_ref in append_event(input, user, event, settings):
            typer.echo(f"forget event   {source_ref}")
    if output is not None:
        pseudonyms = Pseudonyms.from_config(settings.privacy)
        key = user if pseudonyms is None else pseudonyms.pseudonymise(user)
        key = ANONYMOUS_PREFIX + key if guest else key
        for source_ref in write_tombstone(output, key, settings):
            typer.echo(f"tombstone      {source_ref}")
        if input is None:
            sys.stderr.write(
                "freshflow: The job was not told, so it knows the user and publishes lists again; give --input, too.\n"
            )


def _is_valid_utf8(user: str) -> bool:
    try:
        user.encode()
    except UnicodeEncodeError:  # the argument was not UTF-8
        return False
    return True
