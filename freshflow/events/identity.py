"""Ids of anonymous users (guests): users without a `user_id`.

An anonymous user is named by `guest_id` (a cookie, a device), or else by `session_id`. Their id in the job and on the
topic of lists is `ANONYMOUS_PREFIX` + that name. A `user_id` with this prefix is rejected while anonymous users are
enabled, so the two kinds of ids never collide.
"""

from freshflow.events.fields import MAX_ID_CHARS, VALUE_PLACEHOLDER, Fields, InvalidRecordError
from freshflow.events.model import Identify

ANONYMOUS_PREFIX = "guest:"
MAX_ANONYMOUS_ID_CHARS = MAX_ID_CHARS - len(ANONYMOUS_PREFIX)
ANONYMOUS_ID_FIELDS = ("guest_id", "session_id")  # in order of preference: a guest_id outlives the session


def is_anonymous_id(user_id: str) -> bool:
    """Return true for the id of an anonymous user, in a stream with anonymous users enabled."""
    return user_id.startswith(ANONYMOUS_PREFIX)


def resolve_user_id(fields: Fields) -> Fields:
    """Return the fields with the anonymous id as `user_id` if the record has no `user_id`.

    Raises `InvalidRecordError` if the record names neither a user nor an anonymous user.

    >>> resolve_user_id(Fields({"type": "view", "session_id": "s1"})).values["user_id"]
    'guest:s1'
    """
    user_id = fields.identifier("user_id")
    if user_id is None:
        anonymous_id = _find_anonymous_id(fields, ANONYMOUS_ID_FIELDS)
        if anonymous_id is None:
            raise InvalidRecordError(
                "missing_field",
                "user_id, guest_id and session_id are missing or empty: give one of them.",
                field="user_id",
            )
        return Fields({**fields.values, "user_id": anonymous_id})
    if is_anonymous_id(user_id):
        raise InvalidRecordError(
            "wrong_type",
            f"user_id = {VALUE_PLACEHOLDER} is not allowed: with users.guests = true the prefix {ANONYMOUS_PREFIX} "
            "is reserved; name a guest by guest_id or session_id.",
            user_id,
            field="user_id",
        )
    return fields


def find_identify(position: int, fields: Fields, names: tuple[str, ...] = ANONYMOUS_ID_FIELDS[:1]) -> Identify | None:
    """Return an `Identify` event if the fields name a user and an anonymous user.

    Args:
        position: The position of the record.
        fields: The fields of the record.
        names: The fields that can name the anonymous user, in order of preference.

    Returns:
        The event, or None if either name is absent.
    """
    user_id, anonymous_id = fields.identifier("user_id"), _find_anonymous_id(fields, names)
    if user_id is None or anonymous_id is None:
        return None
    return Identify(position, user_id, anonymous_id, fields.require("ts", fields.event_time_ms))


def build_identify(position: int, fields: Fields) -> Identify:
    """Build the event of a record of type `identify`. Raises `InvalidRecordError`."""
    fields.require("user_id", fields.identifier)
    event = find_identify(position, resolve_user_id(fields), ANONYMOUS_ID_FIELDS)
    if event is None:
        raise InvalidRecordError(
            "missing_field",
            "session_id and guest_id are missing or empty: an identify event requires one of them.",
            field="session_id",
        )
    return event


def _find_anonymous_id(fields: Fields, names: tuple[str, ...]) -> str | None:
    """Return the anonymous id from the first non-empty field of `names`, or None."""
    for name in names:
        id_ = fields.identifier(name)
        if id_ is None:
            continue
        if len(id_) > MAX_ANONYMOUS_ID_CHARS:
            limit = f"at most {MAX_ANONYMOUS_ID_CHARS} are allowed for the id of a guest"
            reason = f"{name} = {VALUE_PLACEHOLDER} has {len(id_)} characters; {limit}."
            raise InvalidRecordError("wrong_type", reason, id_, field=name)
        return ANONYMOUS_PREFIX + id_
    return None
