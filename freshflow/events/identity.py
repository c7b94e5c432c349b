"""Guests: who acts without a user id. What names them, and the id they go by in the job and on the topic of lists.

A guest is named by `guest_id` (a cookie, a device), or else by `session_id`, and goes by GUEST + that name wherever a
user goes by `user_id`. No user can have such an id: while guests are known, an event that gives one is refused.
"""

from freshflow.events.fields import MAX_ID_CHARS, VALUE_PLACEHOLDER, Fields, InvalidRecordError
from freshflow.events.model import Identify

__all__ = [
    "ANONYMOUS_PREFIX",
    "MAX_ANONYMOUS_ID_CHARS",
    "find_identify",
    "build_identify",
    "is_anonymous_id",
    "resolve_user_id",
]

ANONYMOUS_PREFIX = "guest:"
MAX_ANONYMOUS_ID_CHARS = MAX_ID_CHARS - len(ANONYMOUS_PREFIX)
ANONYMOUS_ID_FIELDS = ("guest_id", "session_id")  # what names a guest, the better name first


def is_anonymous_id(user_id: str) -> bool:
    """Whether an id is that of a guest, of a stream in which guests are known."""
    return user_id.startswith(ANONYMOUS_PREFIX)


def resolve_user_id(fields: Fields) -> Fields:
    """The fields with a guest's id for `format_user_id` where there is no user's. Raises `InvalidRecordError` if there is neither.

    >>> resolve_user_id(Fields({"type": "view", "session_id": "s1"})).values["user_id"]
    'guest:s1'
    """
    user_id = fields.identifier("user_id")
    if user_id is None:
        anonymous_id = _find_anonymous_id(fields, ANONYMOUS_ID_FIELDS)
        if anonymous_id is None:
            raise InvalidRecordError(
                "missing_field",
                "user_id is missing or empty, and guest_id and session_id name no guest: give one of the three.",
                field="user_id",
            )
        return Fields({**fields.values, "user_id": anonymous_id})
    if is_anonymous_id(user_id):
        raise InvalidRecordError(
            "wrong_type",
            f"user_id = {VALUE_PLACEHOLDER} is not allowed: while users.guests is true, ids that begin with {ANONYMOUS_PREFIX} are those of "
            "guests; name a guest by session_id or guest_id.",
            user_id,
            field="user_id",
        )
    return fields


def find_identify(position: int, fields: Fields, names: tuple[str, ...] = ANONYMOUS_ID_FIELDS[:1]) -> Identify | None:
    """What fields say of who a guest is, if they name a user and, under one of `names`, a guest."""
    user_id, anonymous_id = fields.identifier("user_id"), _find_anonymous_id(fields, names)
    if user_id is None or anonymous_id is None:
        return None
    return Identify(position, user_id, anonymous_id, fields.require("ts", fields.event_time_ms))


def build_identify(position: int, fields: Fields) -> Identify:
    """An event that says who a guest is. Raises `InvalidRecordError`."""
    fields.require("user_id", fields.identifier)
    event = find_identify(position, resolve_user_id(fields), ANONYMOUS_ID_FIELDS)
    if event is None:
        raise InvalidRecordError(
            "missing_field",
            "session_id is missing or empty, and so is guest_id: identify needs one of them, to name the guest.",
            field="session_id",
        )
    return event


def _find_anonymous_id(fields: Fields, names: tuple[str, ...]) -> str | None:
    """The id of the guest under the first name that is filled."""
    for name in names:
        id_ = fields.identifier(name)
        if id_ is None:
            continue
        if len(id_) > MAX_ANONYMOUS_ID_CHARS:
            reason = f"{name} = {VALUE_PLACEHOLDER} has {len(id_)} characters; at most {MAX_ANONYMOUS_ID_CHARS} are allowed of a guest's name."
            raise InvalidRecordError("wrong_type", reason, id_, field=name)
        return ANONYMOUS_PREFIX + id_
    return None
