"""Pseudonyms: keyed hashes that replace user ids in the job.

The pseudonym of an id is the first 128 bits of HMAC-SHA256(key, id in UTF-8) (RFC 2104), written as 32 hexadecimal
digits. The key holder can compute the pseudonym of a known id; the id of a pseudonym can only be found by hashing
candidate ids with the key.
"""

from hashlib import sha256

from msgspec import structs

from freshflow.config.schema import PrivacyConfig
from freshflow.events.identity import ANONYMOUS_PREFIX, is_anonymous_id
from freshflow.events.model import Event, Identify, Interaction, ItemUpdate, Search
from freshflow.events.query_keys import query_words

BLOCK_BYTES = 64  # block size of SHA-256
PSEUDONYM_BYTES = 16  # probability of a collision among a billion users: 1 in 10^21
INNER_PAD, OUTER_PAD = 0x36, 0x5C  # RFC 2104's ipad and opad


class Pseudonyms:
    """A keyed hash of ids. The key is hashed once in advance, which is twice as fast as `hmac.digest`.

    No ids are stored: there is no table of ids and pseudonyms. With `has_anonymous_users`, ids of anonymous users keep
    their prefix, followed by the pseudonym of the rest, so they remain distinct from user ids.
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
        """Return the pseudonyms of a configuration, or None if pseudonymisation is off."""
        return cls(config.key, has_anonymous_users=has_anonymous_users) if config.pseudonymise else None

    @property
    def fingerprint(self) -> str:
        """The pseudonym of the empty id, which no user has: it distinguishes keys without revealing them."""
        return self.pseudonymise("")

    def pseudonymise(self, id_: str) -> str:
        """Return the pseudonym of an id.

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
        """Return the event with pseudonyms in place of all values that can identify its user.

        Session and event ids are replaced too, as they often contain the user id; they are only compared for equality,
        which pseudonyms preserve.
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
        if isinstance(event, Search):  # people search for their own names; words are only compared for equality
            words = " ".join(map(self.pseudonymise, query_words(event.query)))
            return structs.replace(event, user_id=self.pseudonymise_user(event.user_id), query=words)
        return structs.replace(event, user_id=self.pseudonymise_user(event.user_id))
