"""Look up the latest list of a user in a file."""

import gzip
import zlib

import msgspec

from freshflow.errors import InputError


class _ListOwner(msgspec.Struct):
    """The user of a line; a tombstone has a key instead."""

    user_id: str | None = None
    key: str | None = None


def look_up_list(path: str, user_id: str) -> bytes | None:
    """Return the latest list of a user in a file, None after a tombstone; raises `InputError` if it cannot be read."""
    decode_owner, quoted_id = msgspec.json.Decoder(_ListOwner).decode, msgspec.json.encode(user_id)
    open_file = gzip.open if path.endswith(".gz") else open
    latest_list: bytes | None = None
    try:
        with open_file(path, "rb") as file:
            for line in file:
                if quoted_id not in line:
                    continue
                list_owner = decode_owner(line)
                if list_owner.user_id == user_id:
                    latest_list = line
                elif list_owner.key == user_id:
                    latest_list = None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"The lists in {path} cannot be read: {error}.") from None
    except msgspec.MsgspecError:
        raise InputError(f"{path} has a line that is not a list; name a file that a job has written.") from None
    return latest_list
