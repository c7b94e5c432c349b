"""Where the fuzzer begins: good input of every kind, and what is known to be hostile."""

import gzip
import pickle
from functools import cache
from pathlib import Path

import msgspec

import freshflow
from freshflow._state_tables import decode_parts
from freshflow.engine.messages import StepBatch
from freshflow.engine.partition import Partition
from freshflow.engine.snapshot import PARTITION_SNAPSHOT, dump
from freshflow.events.model import Interaction
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from freshflow.streaming.messages import BatchGroup, EndOfInput, RefreshTick
from freshflow.users.store import USER_SNAPSHOT, UserStore

from .targets import CHANGELOG, CONFIG, ORIGIN, PARSER, RawBatch

__all__ = ["WORDS", "seeds_of"]

EXAMPLE = Path(freshflow.__file__).parent / "docs" / "freshflow.example.toml"
NOW = b'"ts": 1714564800000'
HOSTILE_VALUES = (
    *(
        b"1e400",
        b"-1e400",
        b"9" * 400,
        b"9" * 5000,
        b"-" + b"9" * 25,
        b"0." + b"3" * 5000,
        b"NaN",
        b"-Infinity",
        b"1E5",
    ),
    *(
        b'""',
        b'"\\ud800"',
        b'"\\u0000"',
        b'"../../etc/passwd"',
        b'"/dev/null"',
        b'"..\\\\a"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
    ),
    *(b'"' + b"i" * 512 + b'"', b'"' + b"i" * 513 + b'"', b'"' + "ü".encode() * 300 + b'"', b'"\\ud83d\\ude00"'),
    *(b"[" * 2000, b'{"a":' * 2000, b"[]", b"{}", b"null", b"true", b"0", b"-0.0", b"12.0", b"9223372036854775808"),
    *(b'"2024-05-01T12:00:00+02:00"', b'"2024-05-01T12:00:60Z"', b'"0001-01-01T00:00:00+23:59"', b'"1e999"'),
    *(b'"9999-12-31T23:59:59-23:59"', b"253402300800", b"-62135596800", b"1714564800.5", b'"1_0"', b'"\xd9\xa3"'),
)
FIELDS = (
    *("type", "user_id", "item_id", "ts", "event_id", "session_id", "value", "query", "items", "request_id"),
    *("k", "exclude_seen", "title", "categories", "price", "available", "published_at", "embedding"),
)
WORDS = (
    *(f'"{name}":' for name in FIELDS),
    *('"view"', '"rate"', '"request"', '"search"', '"item"', '"forget"', '"dismiss"', '"\\ud800"', "\\u0000", "NaN"),
    *("Infinity", "1e400", "-1e400", "true", "false", "null", "1714564800000", "2024-05-01T12:00:00Z", "\ufeff"),
    *("[", "]", "{", "}", '""', "|", ",", "\r\n", "kafka://", "[::1]:9092", "FRESHFLOW_LISTS_K=", "${A}", "[lists]"),
    *("[events.weights]", "[kafka.options]", "0x7fffffffffffffff", "inf", "nan", '"""', "'''", "1979-05-27"),
)


@cache
def lines() -> tuple[bytes, ...]:
    """What a simulated shop writes, its noise included, and one of each type by hand."""
    shop = ShopConfig(events=300, users=20, items=30, requests=0.1, seed=3)
    good = (
        b'{"type": "rate", "user_id": 7, "item_id": "a", "value": 4.5, "event_id": "e", "session_id": "s", '
        + NOW
        + b"}",
        b'{"type": "search", "user_id": "u", "query": "q", "items": ["a", 2, "b"], "k": 2, "exclude_seen": true, '
        + NOW
        + b"}",
        b'{"type": "item", "item_id": "a", "title": "A", "categories": ["x", "y"], "price": 9.5, "available": false, '
        b'"published_at": "1850-01-01T00:00:00Z", "embedding": [0.5, 1, -2e-3], ' + NOW + b"}",
        b'{"type": "forget", "user_id": "u", ' + NOW + b"}",
        b'{"type": "dismiss", "user_id": "u", "item_id": "a", ' + NOW + b"}",
    )
    return (*good, *(line for _, _, line in shop_lines(shop)))


def hostile_records() -> list[bytes]:
    """Records with every hostile value in every field, and some that are hostile as a whole."""
    whole = [
        *(
            b"",
            b" ",
            b"\0",
            b"\xef\xbb\xbf" + lines()[0],
            lines()[0].decode().encode("utf-16"),
            b"[" * 60_000,
            b"9" * 60_000,
        ),
        b'{"type": "view", "type": "cart", "user_id": "a", "user_id": "b", "item_id": "i", ' + NOW + b"}",
        b'{"type": "search", "user_id": "u", "query": "q", "items": [' + b"1," * 20_000 + b"1], " + NOW + b"}",
        b'{"type": "item", "item_id": "i", "embedding": [' + b"1," * 4096 + b"1], " + NOW + b"}",
        b'{"type": "item", "item_id": "i", "embedding": [' + b"1e308," * 4095 + b"1], " + NOW + b"}",
    ]
    for type_ in (b"view", b"search", b"item"):
        start = (
            b'{"type": "' + type_ + b'", "user_id": "u", "item_id": "i", "query": "q", "items": ["a"], ' + NOW + b", "
        )
        for field in FIELDS:
            for value in HOSTILE_VALUES:
                whole.append(start + b'"' + field.encode() + b'": ' + value + b"}")
    return whole


def _rows() -> list[bytes]:
    header = ",".join(FIELDS).encode() + b"\n"
    good = b"search,u,i,2024-05-01T12:00:00Z,e,s,0.5,q,a|b|c,r,2,true,T,x|y,9.5,0,1850-01-01T00:00:00Z,0.5|1"
    hostile = [
        b'"',
        b'"a\nb',
        b"," * 17,
        b"\0" + b"," * 17,
        b"view,u,i,1e400" + b"," * 14,
        b'"""",' * 18,
        b"a" * 200_000,
    ]
    wide = [
        b",".join(b"c%d" % n for n in range(5000)) + b"\n" + b"," * 4999,
        b"type\nview",
        b"\xef\xbb\xbftype,type\nview,view",
    ]
    return [*(header + row for row in (good, *hostile)), *wide]


def _files() -> list[bytes]:
    some = b"\n".join(lines()[:8])
    packed = gzip.compress(some)
    bodies = [
        some,
        *_rows()[:4],
        b"\xef\xbb\xbf" + some,
        b"\r\n".join(lines()[:3]) + b"\r",  # the end of the file has cut a line end
        b"\n" * 3000,
        b'"' + b"\n" * 3000,
        b"",
    ]
    bombs = [packed, packed + packed, packed[:-5], packed[:40] + b"\xff" + packed[41:], gzip.compress(b" " * 300_000)]
    return [bytes([first]) + body for first in b"abcdefABCDEF" for body in (*bodies, *bombs)]


def _configurations() -> list[bytes]:
    variables = "FRESHFLOW_LISTS_K=5\nFRESHFLOW_EVENTS_WEIGHTS_SHARE=2\nFRESHFLOW_KAFKA_OPTIONS_SASL_PASSWORD=p\nA=b"
    texts = [
        *(
            "[lists]\nk = 5",
            "[kafka.options]\n'sasl.password' = '${A}'",
            "[events.weights]\nhum = 2.5",
            "[job]\nepoch_s=1",
        ),
        *(
            "x=" + "[" * 5000,
            "x=" + "{a=" * 5000,
            "[a" + ".a" * 5000 + "]",
            "[lists]\nk=" + "9" * 5000,
            "[[lists]]\nk=1",
        ),
        *(
            "[lists]\nk=0x" + "f" * 50_000,
            "[job]\nepoch_s = nan",
            "[lists]\nk = 1979-05-27",
            "[lists]\nk='\0'",
            "\ufeff[job]",
        ),
        *(
            "[ranker]\nmodel = 'os:system'",
            "[ranker]\nmodel = '..a:b'",
            "[events.weights]\n'' = 1",
            "lists = 1",
            "[lists.k]",
        ),
    ]
    values = (
        "9" * 5000,
        "[" * 5000,
        "\udcff",
        "{a.b.c=1}",
        "{" + "a." * 5000 + "a=1}",
        "1\nb=2",
        "",
        "0x" + "f" * 9000,
    )
    names = ("FRESHFLOW_LISTS_K", "FRESHFLOW_KAFKA_START", "FRESHFLOW_EVENTS_WEIGHTS", "FRESHFLOW_KAFKA_OPTIONS")
    named = [f"{name}={value}" for name in names for value in values]
    both = [
        *(text + "\0" + variables for text in texts),
        *("\0" + one for one in named),
        EXAMPLE.read_text(),
    ]
    return [text.encode("utf-8", "surrogateescape") for text in both]


@cache
def states() -> tuple[bytes, bytes, bytes]:
    """Snapshots of a bucket and of a partition that have taken some lines, and a changelog's frames."""
    bucket, partition = UserStore(CONFIG.users, 16), Partition(0, CONFIG, lambda: 0)
    events, _ = PARSER.parse(RawBatch(ORIGIN, tuple(enumerate(lines()[:120])), 0))
    steps = bucket.process(events)
    partition.process(ORIGIN, steps)
    taken = [BatchGroup([StepBatch(0, ORIGIN, 0, steps[:8], 9, {})]), RefreshTick(5), EndOfInput()]
    changelog = b"".join(len(piece).to_bytes(2, "little") + piece for piece in map(msgspec.msgpack.encode, taken))
    return bucket.snapshot(), dump(partition), changelog


def _states(target: str) -> list[bytes]:
    users, partition, changelog = states()
    if target == "changelogs":
        return [b"\0" + changelog, b"\1" + changelog, b"\1" + b"\x05\x00\xdd\xff\xff\xff\xff"]
    snapshot_format, whole = (USER_SNAPSHOT, users) if target == "users" else (PARTITION_SNAPSHOT, partition)
    body = whole[len(snapshot_format.version_line) :]
    return [
        *(b"\0" + body, b"\0" + body[:-3], b"\0" + body[:200]),
        *(b"\1" + header for header in (bytes(decode_parts(whole)[0]), b"\x81\xa1u\x80", b"\xdf\xff\xff\xff\xff")),
    ]


def _manifests() -> list[bytes]:
    manifests = [
        {"settings": {}, "snapshot": (CHANGELOG, 4), "changelogs": [(CHANGELOG, 50)]},
        {"settings": {}, "snapshot": ("../../etc/passwd", 4), "changelogs": []},
        {"settings": {}, "snapshot": (CHANGELOG, 1 << 62), "changelogs": [(CHANGELOG, -1)]},
        {"settings": {"job.partitions": 1}},
    ]
    return [*map(msgspec.msgpack.encode, manifests), b"\xdf\xff\xff\xff\xff", b"\x81\xa8settings" + b"\x91" * 3000]


# Records of other shapes; of several events, of none, and of one that is refused.
SHAPES = (
    b'{"session": 42, "events": [{"aid": 0, "ts": 1661200010000, "type": "clicks"},'
    b' {"aid": 2, "ts": 1661200040000, "type": "carts"}]}',
    b'{"client_id": "x", "timestamp_micros": 1609459200123456, "events": [{"name": "purchase",'
    b' "params": {"items": [{"item_id": "a"}, {"item_id": "b"}]}}, {"name": "page_view"}]}',
    b'{"type": "track", "event": "Product Viewed", "messageId": "m", "userId": "u", "timestamp":'
    b' "2024-05-01T12:00:00Z", "properties": {"product_id": "a"}}',
    b'{"specversion": "1.0", "type": "com.shop.view", "source": "/shop", "id": "1",'
    b' "time": "2018-04-05T17:31:00Z", "data": {"user_id": "u7", "item_id": "i42"}}',
    b'{"session": 42, "events": []}',
)


def seeds_of(target: str) -> list[bytes]:
    """The seeds of one target."""
    if target in ("records", "streams"):
        some = lines() if target == "records" else [b"\n".join(lines()[n : n + 40]) for n in range(0, len(lines()), 40)]
        return [*some, *SHAPES, *hostile_records()]
    event = Interaction(1, "view", "u", "i", 5)
    made = {
        "rows": _rows,
        "files": _files,
        "configurations": _configurations,
        "manifests": _manifests,
        "urls": lambda: [
            b"kafka://a:1/t",
            b"kafka://a:1,[::1]:65535/t",
            b"kafka://u:p@a:1/t",
            "kafka://a:１/t".encode(),
        ],
        "positions": lambda: [
            *(
                b'{"line":5,"offset":15,"version":1}',
                b'{"line":-1,"offset":-1}',
                b'{"line":1,"offset":9223372036854775807}',
            ),
            b'{"line":1e400,"offset":' + b"9" * 5000 + b"}",
        ],
        "stored": lambda: [
            *(pickle.dumps(value) for value in (5, b"bytes", None, [1, "a", {"b": 2.5}], event)),
            *(b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f", b"cos\nsystem\n(S'true'\ntR.", b"\x80\x04r\xff\xff\xff\x7f."),
        ],
    }.get(target, lambda: _states(target))
    return made()
