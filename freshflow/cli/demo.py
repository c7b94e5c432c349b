"""`freshflow demo`: a simulated shop as it happens, the job on it, and the live page, one command and no broker."""

import errno
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import IO, Annotated, Any, NoReturn

import msgspec
import typer
from msgspec.structs import replace

from freshflow.cli.clock import now_ms
from freshflow.cli.serve import check_installed
from freshflow.config.schema import Config, load_config
from freshflow.errors import OutputError, ProcessError
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.lines import Line
from freshflow.simulator.pace import live_config, paced
from freshflow.simulator.shop import Shop, build_shop, described_as_shifted, shifted
from freshflow.simulator.write import shop_lines

__all__ = ["demo", "feed", "shown_of"]

PAST_S = 1_800.0  # before the start, told at once so that there is something to see
SHIFTED = 0.55  # of the past: the shop changes, so that there is a drift to see
ITEMS, USERS = 400, 2_000
WINDOW, SHELF = 5, 4  # departments in the shop's window, and items of each
VISITOR = "you"
LISTS, METRICS, REFUSED = "lists.jsonl", "metrics.jsonl", "lists.dead-letters.jsonl"
REPORT_EVERY = 50  # events of a partition; some eight seconds
PARTITIONS = 2  # so that there is a table of them
PORTS = 20  # tried one after the other
LEAVE_S = 20  # for the job to end
STARTED = "The demo is at {}. Ctrl-C ends it."


def demo(
    host: Annotated[str | None, typer.Option(help="The address to listen at. [127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(help="The port; where it is taken the next free one, 0 takes any. [8080]")
    ] = None,
    rate: Annotated[float, typer.Option(help="Events a second, on average.")] = 12.0,
    hours: Annotated[float, typer.Option(help="How long things happen by themselves.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Another seed, another shop.")] = 7,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where events, lists, metrics and the job's log go. [deleted at the end]",
        ),
    ] = None,
) -> None:
    """Show a live page on a simulated shop: what its visitors do, their lists, and how good these are.

    Half an hour of the shop is told at once, with a change of its world in it. On the page you are a visitor, too.
    """
    settings = load_config(None, os.environ, {"serve": {"host": host, "port": port}})
    check_installed()
    past = round(PAST_S * rate)
    config = live_config(
        *(rate, past + round(rate * hours * 3600), USERS, now_ms() - round(PAST_S * 1000)),
        items=ITEMS,
        seed=seed,
        shift=round(SHIFTED * past),
    )
    shop = described_as_shifted(build_shop(config), config)
    with _folder(folder) as place:
        _run(place, _with_free_port(settings), config, shop)


def _run(place: Path, settings: Config, config: ShopConfig, shop: Shop) -> None:
    """Start the job, feed it, and serve, until a signal; raises a `FreshFlowError` if a part fails."""
    from freshflow.serving.dashboard.collector import Sources
    from freshflow.serving.dashboard.demo_shop import Shelf
    from freshflow.serving.dashboard.demo_shop import Shop as Window
    from freshflow.serving.dashboard.routes import live_page
    from freshflow.serving.server import Served, serve

    clicks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    items, in_window = shown_of(shop, config)
    window = Window(VISITOR, msgspec.convert(items, list[Shelf]), in_window, clicks.put, now_ms)
    sources = Sources(str(place / METRICS), str(place / REFUSED))
    page = partial(live_page, sources=sources, kafka=settings.kafka, clock=now_ms, shop=window)
    with _job(place) as pipe:
        lines = shop_lines(config, shop)
        threading.Thread(target=_fed, args=(lines, clicks, pipe, place / "events.jsonl"), daemon=True).start()
        try:
            places = Served(str(place / LISTS), None, str(place / "lists.sqlite"))
            serve(places, settings, lambda said: typer.echo(STARTED.format(said.rpartition(" at ")[2])), page)
        finally:
            clicks.put(None)


def shown_of(shop: Shop, config: ShopConfig) -> tuple[list[dict[str, Any]], list[str]]:
    """All items of a shop as the page wants them, and which stand in its window: of a category of each department those
    that are best known, no two with one title.
    """
    items = [_described(shop.catalogue.launched(config.start_ms, item)) for item in range(config.items)]
    shelves: dict[str, dict[str, str]] = {}
    for item in shifted(shop, config).evergreens:
        entry = items[item]
        shelves.setdefault(entry["category"], {}).setdefault(entry["title"], entry["item_id"])
    of_department: dict[str, list[str]] = {}
    for category, shelf in shelves.items():
        if len(shelf) >= SHELF:
            of_department.setdefault(category.partition(" ")[0], list(shelf.values())[:SHELF])
    return items, [item_id for shelf in list(of_department.values())[:WINDOW] for item_id in shelf]


def _described(raw: bytes) -> dict[str, Any]:
    entry = msgspec.json.decode(raw)
    title = " ".join(entry["title"].split()[:-1])
    category = entry["categories"][-1].replace("/", " · ")
    return {"item_id": entry["item_id"], "title": title, "category": category, "price": entry["price"]}


def feed(
    lines: Iterable[Line],
    clicks: "queue.SimpleQueue[bytes | None]",
    write: Callable[[bytes], None],
    clock: Callable[[], int],
) -> None:
    """Write lines at their time and clicks as they come, until None does. Who clicks waits for what is past already."""

    def wait(seconds: float | None) -> None:
        try:
            click = clicks.get(timeout=seconds)
        except queue.Empty:
            return
        if click is None:
            raise EOFError
        write(click)

    try:
        for _, _, raw in paced(lines, clock, wait):
            write(raw)
        while True:
            wait(None)
    except EOFError:
        return


def _fed(lines: Iterable[Line], clicks: "queue.SimpleQueue[bytes | None]", pipe: IO[bytes], copy: Path) -> None:
    with copy.open("wb", buffering=0) as kept:

        def write(raw: bytes) -> None:
            for file in (pipe, kept):
                file.write(raw + b"\n")

        try:
            feed(lines, clicks, write, now_ms)
        except (BrokenPipeError, ValueError):  # the job has ended, or we have closed the pipe
            return


@contextmanager
def _job(place: Path) -> Iterator[IO[bytes]]:
    """The job in a process of its own, and the pipe that it reads.

    Raises `ProcessError` if it ends before the block does, which then is left at once.
    """
    command = ["run", "--input", "-", "--output", LISTS, "--metrics", METRICS]
    command += ["--partitions", str(PARTITIONS), "--quiet"]
    # Ctrl-C goes to all that run in a terminal, but how things end is for this process to say.
    with (place / "job.log").open("wb") as log:
        job = subprocess.Popen(
            [sys.executable, "-m", "freshflow.cli.main", *command],
            cwd=place,
            env={"FRESHFLOW_METRICS_EVERY_EVENTS": str(REPORT_EVERY)} | os.environ,
            stdin=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            bufsize=0,
        )
    assert job.stdin is not None
    ended = threading.Event()  # by us
    before = {number: signal.signal(number, _leave) for number in (signal.SIGINT, signal.SIGTERM)}
    threading.Thread(target=_watch, args=(job, ended), daemon=True).start()
    try:
        yield job.stdin
    except _Leave:
        pass
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C: the job is told already
        failed = job.poll() is not None
        ended.set()
        _end(job)
        for number, handler in before.items():
            signal.signal(number, handler)
    if failed:
        said = (place / "job.log").read_text("utf-8", "replace").strip().splitlines()
        why = said[-1].removeprefix("freshflow: ") if said else f"it said nothing (exit code {job.returncode})"
        raise ProcessError(f"The job of the demo has ended: {why}")


class _Leave(BaseException):
    """A signal came before the server took them."""


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise _Leave


def _watch(job: "subprocess.Popen[bytes]", ended: threading.Event) -> None:
    job.wait()
    if not ended.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _end(job: "subprocess.Popen[bytes]") -> None:
    job.terminate()
    try:
        job.wait(LEAVE_S)
    except subprocess.TimeoutExpired:
        job.kill()
        job.wait()
    if job.stdin is not None:
        job.stdin.close()


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """A folder without the files of an earlier demo."""
    with TemporaryDirectory(prefix="freshflow-demo-") if given is None else nullcontext(given) as name:
        place = Path(name)
        try:
            place.mkdir(parents=True, exist_ok=True)
            for old in (*place.glob("lists.*"), place / METRICS):
                old.unlink(missing_ok=True)
            (place / LISTS).touch()  # which the server would say it waits for
        except OSError as error:
            raise OutputError(
                f"The demo cannot use the folder {place}: {error.strerror}; give another --folder."
            ) from None
        yield place.resolve()


def _with_free_port(settings: Config) -> Config:
    """The settings with the first port that is free; as they are where there is none, and the server will say so."""
    host, first = settings.serve.host, settings.serve.port
    for port in range(first, min(first + PORTS, 65_536)):
        try:
            with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                return replace(settings, serve=replace(settings.serve, port=port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                break
    return settings
