"""Run a coverage-guided fuzzer over the targets: `python -m tests.fuzz --runs 1000000 [target ...]`.

Each target runs in a process of its own, as the fuzzer (libFuzzer, by way of atheris) ends the process it runs in. What
it learns stays in .cache/fuzz, and so does the input that breaks a target: `python -m tests.fuzz --only FILE target`
runs that alone.
"""

import argparse
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(".cache/fuzz")
TARGETS = (
    *("records", "rows", "files", "positions", "urls", "configurations"),
    *("users", "partitions", "manifests", "changelogs", "stored", "streams"),
)
# What is instrumented; what has compiled loops cannot be.
INSTRUMENTED = (
    *("config", "_framing", "_safe_pickle", "_state_tables", "engine.snapshot"),
    *("events", "io", "users", "state", "streaming"),
)
# Shares of the runs: records are what strangers write, and a run of `streams` is a hundred of them through a whole job.
SHARES = {"records": 30, "files": 3, "streams": 1}
OTHERS_SHARE = 7
# A run that takes longer is a hang. The job itself takes some 250 MB, compiled code included; a run that takes the rest
# of the room follows a length that it should not believe.
HANG_S, ROOM_BYTES = 10, 2 << 30
MAX_LEN = 8192  # of an input, in bytes; longer ones are among the seeds' words (see test_smoke.py)


def main() -> int:
    """Fuzz the targets that are named, or all; 0 if none broke."""
    options = _options()
    if options.inside:
        _fuzz(options)
    if options.only:
        _run_one(options.targets[0], options.only)
        return 0
    wanted = options.targets or TARGETS
    total = sum(SHARES.get(name, OTHERS_SHARE) for name in wanted)
    began_s, ran, broken = time.monotonic(), 0, []
    for name in wanted:
        runs = max(1, options.runs * SHARES.get(name, OTHERS_SHARE) // total)
        done, took_s, good = _fuzzed(name, runs, options.seed)
        ran += done
        broken += [] if good else [name]
        print(f"{name:<16}{done:>10,} runs{took_s:>8.0f} s  {'ok' if good else 'BROKEN, see above'}", flush=True)
    print(f"{'all':<16}{ran:>10,} runs{time.monotonic() - began_s:>8.0f} s  {', '.join(broken) or 'none broke'}")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help=f"{', '.join(TARGETS)} [all]")
    parser.add_argument("--runs", type=int, default=1_000_000, help="mutations, of all targets together [1000000]")
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzer's dice [1]")
    parser.add_argument("--only", type=Path, metavar="FILE", help="run one input through one target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only and len(options.targets) != 1:
        parser.error("--only wants one target")
    return options


def _fuzzed(name: str, runs: int, seed: int) -> tuple[int, float, bool]:
    """Fuzz one target in a process; how many runs it did, how long they took, and whether it held."""
    began_s = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz", name, "--inside", "--runs", str(runs), "--seed", str(seed)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    finished = re.search(r"^Done (\d+) in", done.stderr, re.MULTILINE)
    # The alarm that watches for hangs may go off while Python is being shut down.
    if finished is None or done.returncode not in (0, -signal.SIGALRM):
        print(done.stderr[-6000:], file=sys.stderr)
        return 0, time.monotonic() - began_s, False
    return int(finished[1]), time.monotonic() - began_s, True


def _fuzz(options: argparse.Namespace) -> None:
    """Fuzz one target; never returns."""
    import atheris

    with atheris.instrument_imports(include=["freshflow"], exclude=_left_alone()):
        from tests.fuzz import targets
    from tests.fuzz.seeds import WORDS, seeds_of

    (name,) = options.targets
    corpus, words = FOLDER / name, FOLDER / "words"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    # As libFuzzer wants it: a word a line, in quotes, bytes outside ASCII and quotes as \xNN.
    spelled = ["".join(f"\\x{byte:02x}" for byte in word.encode()) for word in WORDS]
    words.write_text("".join(f'"{word}"\n' for word in spelled))
    target = targets.TARGETS[name]
    target(seeds_of(name)[0])  # compiles what is compiled
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES,) * 2)
    settings = (
        *(
            f"-atheris_runs={options.runs + len(list(corpus.iterdir()))}",
            f"-seed={options.seed}",
            f"-timeout={HANG_S}",
            f"-max_len={MAX_LEN}",
        ),
        *(f"-dict={words}", f"-artifact_prefix={FOLDER}/broken-{name}-", "-rss_limit_mb=0", "-print_final_stats=1"),
    )
    atheris.Setup([sys.argv[0], *settings, str(corpus)], target)
    atheris.Fuzz()


def _left_alone() -> list[str]:
    """The modules of FreshFlow that are not instrumented."""
    names = [".".join(path.with_suffix("").parts) for path in Path("freshflow").rglob("*.py")]
    wanted = tuple(f"freshflow.{name}" for name in INSTRUMENTED)
    return [name for name in names if not any(name == one or name.startswith(f"{one}.") for one in wanted)]


def _run_one(name: str, path: Path) -> None:
    from tests.fuzz import targets

    targets.TARGETS[name](path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
