"""The text of a search as what it is known by: keys that are the same however it is spelled, and are no text.

A text is put in Unicode's form NFKC, its case folded, and cut into words at white space; signs around a word go, and so
does the order of words. The first key stands for the whole query, the others for its first `WORDS` words. A key is a
digest of 80 bits: who knows a query finds its key, and who knows a key finds a query that can be guessed.
"""

from hashlib import blake2b
from unicodedata import normalize

__all__ = ["MAX_QUERY_WORDS", "query_keys", "query_words"]

MAX_QUERY_WORDS = 8  # of a query; longer ones are sentences, whose words say little
KEY_BYTES = 10  # among a million queries two get the same key with a chance of 1 in 10^12


def query_words(text: str) -> list[str]:
    """The distinct words of a text, in order of the alphabet.

    >>> query_words("  Red SHOES, (red) "), query_words("?!")
    (['red', 'shoes'], [])
    """
    words = (_strip_punctuation(word) for word in normalize("NFKC", text).casefold().split())
    return sorted({word for word in words if word})


def query_keys(text: str) -> tuple[str, ...]:
    """The key of the whole query and those of its words; none where there is no word in it."""
    words = query_words(text)
    if not words:
        return ()
    return tuple(
        _digest(part) for part in (f"query {' '.join(words)}", *(f"word {word}" for word in words[:MAX_QUERY_WORDS]))
    )


def _strip_punctuation(word: str) -> str:
    """A word without signs around it."""
    start, end = 0, len(word)
    while start < end and not word[start].isalnum():
        start += 1
    while end > start and not word[end - 1].isalnum():
        end -= 1
    return word[start:end]


def _digest(part: str) -> str:
    return blake2b(part.encode(), digest_size=KEY_BYTES).hexdigest()
