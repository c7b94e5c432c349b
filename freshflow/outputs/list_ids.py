"""Ids of lists: digests of what distinguishes a list from all other lists of its user."""

from hashlib import blake2b

from freshflow.events.model import Identify, Interaction, Origin, Request, Search
from freshflow.outputs.records import Cause

LIST_ID_BYTES = 8

CAUSE_BY_EVENT_TYPE: dict[type, Cause] = {
    Interaction: "interaction",
    Request: "request",
    Search: "search",
    Identify: "identify",
}


def list_name(origin: Origin, position: int, cause_name: str, nth: int = 0) -> bytes:
    """Return the text that no other list of the same user has.

    Args:
        origin: The file or topic of the event that causes the list.
        position: The position of the event's record there.
        cause_name: The cause of the list.
        nth: The number of the event in its record, from 0.
    """
    position_text = f"{position}/{nth}" if nth else f"{position}"
    return f"{origin.key}\n{position_text}\n{cause_name}\n".encode()


def list_id(name: bytes) -> str:
    """Return the id of the list with a `list_name`."""
    return blake2b(name, digest_size=LIST_ID_BYTES).hexdigest()


def refreshed_list_ids(name: bytes, user_ids: list[str]) -> list[str]:
    """Return the ids of lists that share a `list_name`, one of each user."""
    name_digest = blake2b(name, digest_size=LIST_ID_BYTES)
    list_ids = []
    for user_id in user_ids:
        digest = name_digest.copy()
        digest.update(user_id.encode())
        list_ids.append(digest.hexdigest())
    return list_ids
