"""Pseudonyms: what the job knows users by where it is not to know their ids.

The pseudonym of an id is HMAC-SHA256(key, id in UTF-8) (RFC 2104), of which the first 128 bits are written as 32
hexadecimal digits. Who has the key can find the pseudonym of an id they know; nobody can find the id of a pseudonym but
by trying ids with the key.
"""

from hashlib import sha256

from msgspec import structs

from freshflow.config.schema import PrivacyConfig
from freshflow.events.identity import ANONYMOUS_PREFIX, is_anonymous_id
from freshflow.events.model import Event, Identify, Interaction, ItemUpdate, Search
from freshflow.events.query_keys import query_words

__all__ = ["Pseudonyms"]

BLOCK_BYTES = 64  # of SHA-256
PSEUDONYM_BYTES = 16  # among a billion users two get the same one with a chance of 1 in 10^21
INNER_PAD, OUTER_PAD = 0x36, 0x5C  # RFC 2104's ipad and opad


class Pseudonyms:
    """Replaces ids under one key. The hash has read the key in advance, which makes it twice as fast as `hmac.digest`.

    Nothing is remembered from id to id: the job keeps no list of who is who. With `guests` they have pseudonyms of the
    ids that name them, and are still to be told from users.
    """

    def __init__(self, key: str, *, has_anonymous_users: bool = False) -> None:
        self.pseudonymise_user = self._pseudonymise_user_or_anonymous if has_anonymous_users else self.pseudonymise
        secret = key.encode()
        padded = (sha256(secret).digest() if len(secret) > BLOCK_BYTES else secret).ljust(BLOCK_BYTES, b"\0")
        self._inner_hash, self._outer_hash = (
            sha256(bytes(byte ^ pad for byte in padded)) for pad in (INNER_PAD, OUTER_PAD)
        )

    @classmethod
    def from_config(cls, config: PrivacyConfig, *, has_anonymous_users: bool = False) -> "Pseudonyms | None":
        """What replaces ids, or None where they stay as they are."""
        return cls(config.key, has_anonymous_users=has_anonymous_users) if config.pseudonymise else None

    @property
    def fingerprint(self) -> str:
        """Tells one key from another, and nothing of the key: the pseudonym of the empty id, which nobody has."""
        return self.pseudonymise("")

    def pseudonymise(self, id_: str) -> str:
        """The pseudonym of an id.

        >>> Pseudonyms("not a secret, and long enough").pseudonymise("u7")
        '8eae4f8df69530aadc52bcda2fd20aae'
        """
        inner_hash, outer_hash = self._inner_hash.copy(), self._outer_hash.copy()
        inner_hash.update(id_.encode())
        outer_hash.update(inner_hash.digest())
        return outer_hash.digest()[:PSEUDONYM_BYTES].hex()

    def _pseudonymise_user_or_anonymous(self, user_id: str) -> str:
        return (
            ANONYMOUS_PREFIX + self.pseudonymise(user_id[len(ANONYMOUS_PREFIX) :])
            if is_anonymous_id(user_id)
            else self.pseudonymise(user_id)
        )

    def pseudonymise_event(self, event: Event) -> Event:
        """The event with pseudonyms in place of whatever can name its user.

        Session and event ids are made of the user's often enough. They are only ever compared with one another, which
        pseudonyms do as well.
        """
        if isinstance(event, Interaction):
            session_id, event_id = event.session_id, event.event_id
            return Interaction(
                event.position,
                event.type,
                self.pseudonymise_user(event.user_id),
                event.item_id,
                event.ts_ms,
                event.weight,
                None if event_id is None else self.pseudonymise(event_id),
                None if session_id is None else self.pseudonymise(session_id),
                event.value,
                event.nth,
            )
        if isinstance(event, ItemUpdate):
            return event
        if isinstance(event, Identify):
            return structs.replace(
                event, user_id=self.pseudonymise(event.user_id), anonymous_id=self.pseudonymise_user(event.anonymous_id)
            )
        if isinstance(event, Search):  # people search for themselves, and words are compared with words only
            words = " ".join(map(self.pseudonymise, query_words(event.query)))
            return structs.replace(event, user_id=self.pseudonymise_user(event.user_id), query=words)
        return structs.replace(event, user_id=self.pseudonymise_user(event.user_id))
