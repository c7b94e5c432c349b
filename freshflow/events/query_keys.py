"""Keys of search queries: digests that are equal for different spellings of a query.

The text is normalised (Unicode NFKC, case folding) and split at white space; punctuation around words and the order of
words are dropped. The first key represents the whole query, the others its first `MAX_QUERY_WORDS` words. A key is an
80-bit digest: it can be computed from a query, and a query that can be guessed can be found from its key.
"""

from hashlib import blake2b
from unicodedata import normalize

MAX_QUERY_WORDS = 8  # words of a query with a key; longer queries are sentences, with less specific words
KEY_BYTES = 10  # probability of a collision among a million queries: 1 in 10^12


def query_words(text: str) -> list[str]:
    """Return the distinct normalised words of a text, sorted.

    >>> query_words("  Red SHOES, (red) "), query_words("?!")
    (['red', 'shoes'], [])
    """
    words = (_strip_punctuation(word) for word in normalize("NFKC", text).casefold().split())
    return sorted({word for word in words if word})


def query_keys(text: str) -> tuple[str, ...]:
    """Return the key of the whole query, then the keys of its words; empty if the text has no words."""
    words = query_words(text)
    if not words:
        return ()
    return tuple(
        _digest(part) for part in (f"query {' '.join(words)}", *(f"word {word}" for word in words[:MAX_QUERY_WORDS]))
    )


def _strip_punctuation(word: str) -> str:
    start, end = 0, len(word)
    while start < end and not word[start].isalnum():
        start += 1
    while end > start and not word[end - 1].isalnum():
        end -= 1
    return word[start:end]


def _digest(part: str) -> str:
    return blake2b(part.encode(), digest_size=KEY_BYTES).hexdigest()
