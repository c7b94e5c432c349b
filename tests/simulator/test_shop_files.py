"""Lines as bytes and files: repeatable to the byte, and readable."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from itertools import islice

import pytest

from freshflow.errors import OutputError
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines, write_lines

SMALL = {"events": 1_500, "users": 50, "items": 60, "requests": 0.1}

DIGEST = f"""
import hashlib
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
digest = hashlib.sha256()
for _, _, raw in shop_lines(ShopConfig(**{SMALL!r})):
    digest.update(raw + b"\\n")
print(digest.hexdigest())
"""


def digest(**named):
    lines = shop_lines(ShopConfig(**SMALL | named))
    return hashlib.sha256(b"".join(raw + b"\n" for _, _, raw in lines)).hexdigest()


def test_same_seed_gives_the_same_bytes():
    assert digest() == digest() == digest(seed=7)


def test_other_seed_gives_other_bytes():
    assert len({digest(seed=seed) for seed in (0, 1, 7)}) == 3


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_same_seed_gives_the_same_bytes_under_any_hash_seed(hash_seed):
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TZ": "Asia/Tokyo",
    }
    done = subprocess.run([sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest()


def test_lines_come_as_they_are_made():
    """A stream too long to wait for begins at once."""
    lines = shop_lines(ShopConfig(events=10**9, users=100, items=50))
    assert len(list(islice(lines, 100))) == 100


def test_file_holds_one_line_each_and_the_kinds_are_counted(tmp_path):
    path = tmp_path / "shop.jsonl"
    kinds = write_lines(shop_lines(ShopConfig(**SMALL, dirty=False)), str(path))
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(rows) == kinds.total()
    assert kinds["behaviour"] == 1_500
    assert kinds["item"] == sum(row["type"] == "item" for row in rows)


def test_gzip_holds_the_same_bytes_and_is_itself_repeatable(tmp_path):
    plain, first, second = (tmp_path / name for name in ("a.jsonl", "a.jsonl.gz", "b.jsonl.gz"))
    for path in (plain, first, second):
        write_lines(shop_lines(ShopConfig(**SMALL)), str(path))
    assert gzip.decompress(first.read_bytes()) == plain.read_bytes()
    assert first.read_bytes() == second.read_bytes()


def test_dash_is_standard_output(capsysbinary):
    write_lines([(1, "item", b"{}")], "-")
    assert capsysbinary.readouterr().out == b"{}\n"


@pytest.mark.parametrize("name", ["none/shop.jsonl", "none/shop.jsonl.gz", "."])
def test_path_that_cannot_be_written_is_named(tmp_path, name):
    path = str(tmp_path / name)
    with pytest.raises(OutputError, match="Cannot write to ") as refused:
        write_lines([(1, "item", b"{}")], path)
    assert path in str(refused.value)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
@pytest.mark.parametrize("lines", [1, 300_000])
def test_full_disk_is_one_clear_sentence(lines):
    with pytest.raises(OutputError, match=r"Cannot write to /dev/full: No space left on device\."):
        write_lines(((1, "item", b"{}") for _ in range(lines)), "/dev/full")
