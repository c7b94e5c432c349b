"""Pseudonyms: what the job knows users by where it is not to know their ids.

The pseudonym of an id is HMAC-SHA256(key, id in UTF-8) (RFC 2104), of which the first 128 bits are written as 32
hexadecimal digits. Who has the key can find the pseudonym of an id they know; nobody can find the id of a pseudonym but
by trying ids with the key.
"""

from hashlib import sha256

from msgspec import structs

from freshflow.config.schema import PrivacyConfig
from freshflow.events.identity import GUEST, is_guest
from freshflow.events.model import Behaviour, Event, Identify, ItemUpdate, Search
from freshflow.events.query_keys import words_of

__all__ = ["Pseudonyms"]

BLOCK_BYTES = 64  # of SHA-256
PSEUDONYM_BYTES = 16  # among a billion users two get the same one with a chance of 1 in 10^21
INNER, OUTER = 0x36, 0x5C  # RFC 2104's ipad and opad


class Pseudonyms:
    """Replaces ids under one key. The hash has read the key in advance, which makes it twice as fast as `hmac.digest`.

    Nothing is remembered from id to id: the job keeps no list of who is who. With `guests` they have pseudonyms of the
    ids that name them, and are still to be told from users.
    """

    def __init__(self, key: str, *, guests: bool = False) -> None:
        self.of_owner = self._of_user_or_guest if guests else self.of
        secret = key.encode()
        padded = (sha256(secret).digest() if len(secret) > BLOCK_BYTES else secret).ljust(BLOCK_BYTES, b"\0")
        self._inner, self._outer = (sha256(bytes(byte ^ pad for byte in padded)) for pad in (INNER, OUTER))

    @classmethod
    def of_config(cls, config: PrivacyConfig, *, guests: bool = False) -> "Pseudonyms | None":
        """What replaces ids, or None where they stay as they are."""
        return cls(config.key, guests=guests) if config.pseudonymise else None

    @property
    def fingerprint(self) -> str:
        """Tells one key from another, and nothing of the key: the pseudonym of the empty id, which nobody has."""
        return self.of("")

    def of(self, id_: str) -> str:
        """The pseudonym of an id.

        >>> Pseudonyms("not a secret, and long enough").of("u7")
        '8eae4f8df69530aadc52bcda2fd20aae'
        """
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(id_.encode())
        outer.update(inner.digest())
        return outer.digest()[:PSEUDONYM_BYTES].hex()

    def _of_user_or_guest(self, user_id: str) -> str:
        return GUEST + self.of(user_id[len(GUEST) :]) if is_guest(user_id) else self.of(user_id)

    def hide(self, event: Event) -> Event:
        """The event with pseudonyms in place of whatever can name its user.

        Session and event ids are made of the user's often enough. They are only ever compared with one another, which
        pseudonyms do as well.
        """
        if isinstance(event, Behaviour):
            session_id, event_id = event.session_id, event.event_id
            return Behaviour(
                event.position,
                event.type,
                self.of_owner(event.user_id),
                event.item_id,
                event.ts_ms,
                event.weight,
                None if event_id is None else self.of(event_id),
                None if session_id is None else self.of(session_id),
                event.value,
                event.nth,
            )
        if isinstance(event, ItemUpdate):
            return event
        if isinstance(event, Identify):
            return structs.replace(event, user_id=self.of(event.user_id), guest=self.of_owner(event.guest))
        if isinstance(event, Search):  # people search for themselves, and words are compared with words only
            words = " ".join(map(self.of, words_of(event.query)))
            return structs.replace(event, user_id=self.of_owner(event.user_id), query=words)
        return structs.replace(event, user_id=self.of_owner(event.user_id))
