"""Command `freshflow demo`: simulates a shop in real time, with the job and the live page on it, without a broker."""

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

from freshflow.cli.clock import wall_clock_ms
from freshflow.cli.serve import check_server_packages
from freshflow.config.loader import load_config
from freshflow.config.schema import Config
from freshflow.errors import OutputError, ProcessError
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.lines import Line
from freshflow.simulator.pace import live_config, pace_lines
from freshflow.simulator.shop import SimulatedShop, build_shop, shift_shop, with_shifted_catalogue
from freshflow.simulator.write import shop_lines

BACKFILL_S = 1_800.0  # simulated time before the start, replayed at once so the page has data
SHIFT_RATIO = 0.55  # share of the replayed events before the shop changes, to show a drift
N_ITEMS, N_USERS = 400, 2_000
N_WINDOW_DEPARTMENTS, ITEMS_PER_DEPARTMENT = 5, 4  # departments in the shop window, and items of each
VISITOR_ID = "you"
LISTS_FILE, METRICS_FILE, DEAD_LETTERS_FILE = "lists.jsonl", "metrics.jsonl", "lists.dead-letters.jsonl"
REPORT_EVERY_EVENTS = 50  # events of a partition between reports; about eight seconds
DEMO_PARTITIONS = 2  # two, to show the table of partitions
MAX_PORT_ATTEMPTS = 20  # consecutive ports to try
JOB_SHUTDOWN_TIMEOUT_S = 20  # time for the job to end after SIGTERM
STARTED_MESSAGE = "The demo is at {}. Ctrl-C ends it."


def demo(
    host: Annotated[str | None, typer.Option(help="The address to listen at. [127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(help="The port; where it is taken the next free one, 0 takes any. [8080]")
    ] = None,
    rate: Annotated[float, typer.Option(help="Events a second, on average.")] = 12.0,
    hours: Annotated[float, typer.Option(help="Duration of the simulation, in hours.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Another seed, another shop.")] = 7,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where events, lists, metrics and the job's log go. [deleted at the end]",
        ),
    ] = None,
) -> None:
    """Show a live page on a simulated shop: its events, its lists and their quality.

    Half an hour of events is replayed at the start, and the shop changes during it. On the page, you act as a visitor.
    """
    settings = load_config(None, os.environ, {"serve": {"host": host, "port": port}})
    check_server_packages()
    n_backfill_events = round(BACKFILL_S * rate)
    config = live_config(
        *(rate, n_backfill_events + round(rate * hours * 3600), N_USERS, wall_clock_ms() - round(BACKFILL_S * 1000)),
        items=N_ITEMS,
        seed=seed,
        shift=round(SHIFT_RATIO * n_backfill_events),
    )
    shop = with_shifted_catalogue(build_shop(config), config)
    with _prepare_folder(folder) as work_dir:
        _run_demo(work_dir, _select_free_port(settings), config, shop)


def _run_demo(work_dir: Path, settings: Config, config: ShopConfig, shop: SimulatedShop) -> None:
    """Start the job, feed it, and serve until a signal; raise a `FreshFlowError` if a part fails."""
    from freshflow.serving.dashboard.collector import DashboardSources
    from freshflow.serving.dashboard.demo_shop import DemoShop as Window
    from freshflow.serving.dashboard.demo_shop import ShopItem
    from freshflow.serving.dashboard.routes import live_page
    from freshflow.serving.server import ServerUrls, run_server

    clicks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    items, window_item_ids = describe_shop_items(shop, config)
    page_shop = Window(VISITOR_ID, msgspec.convert(items, list[ShopItem]), window_item_ids, clicks.put, wall_clock_ms)
    sources = DashboardSources(str(work_dir / METRICS_FILE), str(work_dir / DEAD_LETTERS_FILE))
    page = partial(live_page, sources=sources, config=settings, clock=wall_clock_ms, shop=page_shop)
    with _run_job(work_dir) as pipe:
        lines = shop_lines(config, shop)
        threading.Thread(target=_feed_pipe, args=(lines, clicks, pipe, work_dir / "events.jsonl"), daemon=True).start()
        try:
            server_urls = ServerUrls(str(work_dir / LISTS_FILE), None, str(work_dir / "lists.sqlite"))
            run_server(
                server_urls,
                settings,
                lambda message: typer.echo(STARTED_MESSAGE.format(message.rpartition(" at ")[2])),
                page,
            )
        finally:
            clicks.put(None)


def describe_shop_items(shop: SimulatedShop, config: ShopConfig) -> tuple[list[dict[str, Any]], list[str]]:
    """Return all items of a shop as entries of the page, and the ids of the items in its window.

    The window has the most popular items of one category per department, with distinct titles.
    """
    items = [_describe_item(shop.catalogue.encode_launch(config.start_ms, item)) for item in range(config.items)]
    items_by_category: dict[str, dict[str, str]] = {}
    for item in shift_shop(shop, config).evergreens:
        entry = items[item]
        items_by_category.setdefault(entry["category"], {}).setdefault(entry["title"], entry["item_id"])
    items_by_department: dict[str, list[str]] = {}
    for category, category_items in items_by_category.items():
        if len(category_items) >= ITEMS_PER_DEPARTMENT:
            items_by_department.setdefault(
                category.partition(" ")[0], list(category_items.values())[:ITEMS_PER_DEPARTMENT]
            )
    return items, [
        item_id
        for category_items in list(items_by_department.values())[:N_WINDOW_DEPARTMENTS]
        for item_id in category_items
    ]


def _describe_item(raw: bytes) -> dict[str, Any]:
    entry = msgspec.json.decode(raw)
    title = " ".join(entry["title"].split()[:-1])
    category = entry["categories"][-1].replace("/", " · ")
    return {"item_id": entry["item_id"], "title": title, "category": category, "price": entry["price"]}


def feed_events(
    lines: Iterable[Line],
    clicks: "queue.SimpleQueue[bytes | None]",
    write: Callable[[bytes], None],
    clock: Callable[[], int],
) -> None:
    """Write lines at their timestamps and clicks immediately, until None arrives in `clicks`.

    Past lines are written first; a click waits for them.

    Args:
        lines: The simulated lines.
        clicks: The clicks of the page; None ends the feed.
        write: Called with each line.
        clock: Returns the time in epoch milliseconds.
    """

    def wait(seconds: float | None) -> None:
        try:
            click = clicks.get(timeout=seconds)
        except queue.Empty:
            return
        if click is None:
            raise EOFError
        write(click)

    try:
        for _, _, raw in pace_lines(lines, clock, wait):
            write(raw)
        while True:
            wait(None)
    except EOFError:
        return


def _feed_pipe(
    lines: Iterable[Line], clicks: "queue.SimpleQueue[bytes | None]", pipe: IO[bytes], copy_path: Path
) -> None:
    with copy_path.open("wb", buffering=0) as copy_file:

        def write(raw: bytes) -> None:
            for file in (pipe, copy_file):
                file.write(raw + b"\n")

        try:
            feed_events(lines, clicks, write, wall_clock_ms)
        except (BrokenPipeError, ValueError):  # the job has ended, or the pipe is closed
            return


@contextmanager
def _run_job(work_dir: Path) -> Iterator[IO[bytes]]:
    """Run the job in a child process, and yield the pipe to its input.

    Raises:
        ProcessError: If the job ends before the block; a signal interrupts the block.
    """
    command = ["run", "--input", "-", "--output", LISTS_FILE, "--metrics", METRICS_FILE]
    command += ["--partitions", str(DEMO_PARTITIONS), "--quiet"]
    # A session of its own keeps Ctrl-C from the job: this process controls the order of shutdown.
    with (work_dir / "job.log").open("wb") as log_file:
        job = subprocess.Popen(
            [sys.executable, "-m", "freshflow.cli.main", *command],
            cwd=work_dir,
            env={"FRESHFLOW_METRICS_REPORT_EVERY_EVENTS": str(REPORT_EVERY_EVENTS)} | os.environ,
            stdin=subprocess.PIPE,
            stderr=log_file,
            start_new_session=True,
            bufsize=0,
        )
    assert job.stdin is not None
    shutdown_event = threading.Event()  # set before this process ends the job
    previous_handlers = {
        signal_number: signal.signal(signal_number, _raise_stop_signal)
        for signal_number in (signal.SIGINT, signal.SIGTERM)
    }
    threading.Thread(target=_watch_job, args=(job, shutdown_event), daemon=True).start()
    try:
        yield job.stdin
    except _StopSignal:
        pass
    finally:
        for signal_number in previous_handlers:
            signal.signal(signal_number, signal.SIG_IGN)  # ignores a second Ctrl-C during the shutdown
        has_failed = job.poll() is not None
        shutdown_event.set()
        _terminate_job(job)
        for signal_number, handler in previous_handlers.items():
            signal.signal(signal_number, handler)
    if has_failed:
        log_lines = (work_dir / "job.log").read_text("utf-8", "replace").strip().splitlines()
        reason = log_lines[-1].removeprefix("freshflow: ") if log_lines else f"no message (exit code {job.returncode})"
        raise ProcessError(f"The job of the demo has ended: {reason}")


class _StopSignal(BaseException):
    """A stop signal received before the server installed its handlers."""


def _raise_stop_signal(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise _StopSignal


def _watch_job(job: "subprocess.Popen[bytes]", shutdown_event: threading.Event) -> None:
    job.wait()
    if not shutdown_event.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _terminate_job(job: "subprocess.Popen[bytes]") -> None:
    job.terminate()
    try:
        job.wait(JOB_SHUTDOWN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        job.kill()
        job.wait()
    if job.stdin is not None:
        job.stdin.close()


@contextmanager
def _prepare_folder(folder: Path | None) -> Iterator[Path]:
    """Create the folder, and remove the files of an earlier demo."""
    with TemporaryDirectory(prefix="freshflow-demo-") if folder is None else nullcontext(folder) as name:
        work_dir = Path(name)
        try:
            work_dir.mkdir(parents=True, exist_ok=True)
            for stale_file in (*work_dir.glob("lists.*"), work_dir / METRICS_FILE):
                stale_file.unlink(missing_ok=True)
            (work_dir / LISTS_FILE).touch()  # avoids the server's message about a missing file
        except OSError as error:
            raise OutputError(
                f"The demo cannot use the folder {work_dir}: {error.strerror}; give another --folder."
            ) from None
        yield work_dir.resolve()


def _select_free_port(settings: Config) -> Config:
    """Return the settings with the first free port, or unchanged if none is free; the server reports the error then."""
    host, first_port = settings.serve.host, settings.serve.port
    for port in range(first_port, min(first_port + MAX_PORT_ATTEMPTS, 65_536)):
        try:
            with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                return replace(settings, serve=replace(settings.serve, port=port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                break
    return settings
