"""Guests: who acts without a user id. What names them, and the id they go by in the job and on the topic of lists.

A guest is named by `guest_id` (a cookie, a device), or else by `session_id`, and goes by GUEST + that name wherever a
user goes by `user_id`. No user can have such an id: while guests are known, an event that gives one is refused.
"""

from freshflow.events.fields import MAX_ID_CHARS, QUOTED, Fields, RefusedError
from freshflow.events.model import Identify

__all__ = ["GUEST", "MAX_GUEST_CHARS", "identified", "identify", "is_guest", "with_owner"]

GUEST = "guest:"
MAX_GUEST_CHARS = MAX_ID_CHARS - len(GUEST)
NAMES = ("guest_id", "session_id")  # what names a guest, the better name first


def is_guest(user_id: str) -> bool:
    """Whether an id is that of a guest, of a stream in which guests are known."""
    return user_id.startswith(GUEST)


def with_owner(fields: Fields) -> Fields:
    """The fields with a guest's id for `user_id` where there is no user's. Raises `RefusedError` if there is neither.

    >>> with_owner(Fields({"type": "view", "session_id": "s1"})).values["user_id"]
    'guest:s1'
    """
    user_id = fields.identifier("user_id")
    if user_id is None:
        guest = _guest(fields, NAMES)
        if guest is None:
            raise RefusedError(
                "missing_field",
                "user_id is missing or empty, and guest_id and session_id name no guest: give one of the three.",
                field="user_id",
            )
        return Fields({**fields.values, "user_id": guest})
    if is_guest(user_id):
        raise RefusedError(
            "wrong_type",
            f"user_id = {QUOTED} is not allowed: while users.guests is true, ids that begin with {GUEST} are those of "
            "guests; name a guest by session_id or guest_id.",
            user_id,
            field="user_id",
        )
    return fields


def identified(position: int, fields: Fields, names: tuple[str, ...] = NAMES[:1]) -> Identify | None:
    """What fields say of who a guest is, if they name a user and, under one of `names`, a guest."""
    user_id, guest = fields.identifier("user_id"), _guest(fields, names)
    if user_id is None or guest is None:
        return None
    return Identify(position, user_id, guest, fields.required("ts", fields.event_time_ms))


def identify(position: int, fields: Fields) -> Identify:
    """An event that says who a guest is. Raises `RefusedError`."""
    fields.required("user_id", fields.identifier)
    event = identified(position, with_owner(fields), NAMES)
    if event is None:
        raise RefusedError(
            "missing_field",
            "session_id is missing or empty, and so is guest_id: identify needs one of them, to name the guest.",
            field="session_id",
        )
    return event


def _guest(fields: Fields, names: tuple[str, ...]) -> str | None:
    """The id of the guest under the first name that is filled."""
    for name in names:
        id_ = fields.identifier(name)
        if id_ is None:
            continue
        if len(id_) > MAX_GUEST_CHARS:
            reason = (
                f"{name} = {QUOTED} has {len(id_)} characters; at most {MAX_GUEST_CHARS} are allowed of a guest's name."
            )
            raise RefusedError("wrong_type", reason, id_, field=name)
        return GUEST + id_
    return None
