"""How fast `freshflow serve` answers: requests at a fixed rate from a process of their own, while lists come in.

`python -m tests.bench.serve [--rate 1000] [--seconds 20] [--users 20000] [--writes 500] [--store PLACE]`: a file of
lists of 20 items is written, served, and grown by so many lists a second while the requests are made. Each request has
its time; one that begins late counts from when it should have begun, so that a server that stalls is not asked less.
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.bench.machine import described

CONNECTIONS = 32


def a_list(user: int, now_ms: int) -> bytes:
    items = [
        {"item_id": f"i{user * 7 + n}", "score": 3.0 - n / 10, "reason": "together", "because": [f"i{user}"]}
        for n in range(20)
    ]
    head = {"user_id": f"u{user}", "list_id": "5ae71d0cbfdb8d64", "surface": "feed", "cause": "interaction"}
    place = {"event_ts": now_ms, "computed_at": now_ms, "source": {"file": "events.jsonl", "line": user}}
    whole = head | place | {"model": {"partition": 0, "updates": user}, "items": items}
    return json.dumps(whole, separators=(",", ":")).encode() + b"\n"


async def ask(port: int, users: int, rate: float, seconds: float) -> list[float]:
    """Milliseconds that each answer took, from when it should have been asked for."""
    took: list[float] = []
    waiting: asyncio.Queue[float] = asyncio.Queue()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            due_s = await waiting.get()
            writer.write(b"GET /recommendations/u%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % random.randrange(users))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            (length,) = re.findall(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length))
            took.append((time.perf_counter() - due_s) * 1000)
            waiting.task_done()

    tasks = [asyncio.create_task(connection()) for _ in range(CONNECTIONS)]
    begun_s = time.perf_counter()
    for n in range(int(rate * seconds)):
        due_s = begun_s + n / rate
        while (left_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(left_s)
        waiting.put_nowait(due_s)
    await waiting.join()
    for task in tasks:
        task.cancel()
    return took


def grow(path: Path, users: int, rate: float, seconds: float) -> None:
    """Append lists at a rate, twenty times a second."""
    begun_s, written = time.perf_counter(), 0
    with path.open("ab") as file:
        while (passed_s := time.perf_counter() - begun_s) < seconds:
            for _ in range(written, int(passed_s * rate)):
                file.write(a_list(random.randrange(users), time.time_ns() // 1_000_000))
                written += 1
            file.flush()
            time.sleep(0.05)


def wait_until_read(port: int, users: int) -> None:
    """Return once the server has a list of every user."""
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            if json.load(answer)["users"] == users:
                return
        time.sleep(0.1)


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def mean_age_ms(port: int) -> float:
    """How old lists were on average when they could be asked for."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    total, count = (
        float(re.findall(rf"^freshflow_serve_list_age_seconds_{of}{{.*}} (.*)$", text, re.M)[0])
        for of in ("sum", "count")
    )
    return total / max(1.0, count) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rate", 1000), ("seconds", 20), ("users", 20_000), ("writes", 500)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--store", help="A path, or redis://… that is empty; else a file in a folder of its own.")
    parser.add_argument("--asking", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    users = int(asked.users)
    if asked.asking is not None:
        json.dump(asyncio.run(ask(asked.asking, users, asked.rate, asked.seconds)), sys.stdout)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lists.jsonl")
        path.write_bytes(b"".join(a_list(user, 0) for user in range(users)))
        command = [sys.executable, "-m", "freshflow.cli.main", "serve", "--lists", str(path), "--port", "0"]
        command += ["--store", asked.store or str(Path(folder, "store.sqlite"))]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        (port,) = re.findall(r":(\d+)$", server.stderr.readline())
        wait_until_read(int(port), users)
        options = [f"--{name}={getattr(asked, name)}" for name in ("rate", "seconds", "users")]
        client = [sys.executable, "-m", "tests.bench.serve", "--asking", port, *options]
        asking = subprocess.Popen(client, stdout=subprocess.PIPE)
        used_s = cpu_s(server.pid)
        grow(path, users, asked.writes, asked.seconds)
        took = sorted(json.loads(asking.communicate()[0]))
        used_s = cpu_s(server.pid) - used_s
        age_ms = mean_age_ms(int(port))
        server.terminate()
        server.wait()
    print(described())
    print(f"{len(took):,} answers at {asked.rate:,.0f} a second, {asked.writes:,.0f} lists a second written meanwhile")
    for share in (0.5, 0.9, 0.99, 0.999):
        print(f"  p{share * 100:<5g} {took[int(share * len(took))]:8.2f} ms")
    print(f"  most   {took[-1]:8.2f} ms")
    print(f"processor time of the server {used_s / len(took) * 1e6:.0f} us an answer, storing what is written included")
    print(f"from when a list was made to when it could be asked for {age_ms:.1f} ms on average")


if __name__ == "__main__":
    main()
