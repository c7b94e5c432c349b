"""Python and packages, the environment, the key of pseudonyms and the address of the metrics."""

import re
import socket
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from freshflow.config.schema import Config
from freshflow.preflight.findings import Finding, bad, good

__all__ = ["environment", "fits", "metrics_address", "packages", "privacy"]

API = "BYTEWAX_DATAFLOW_API_ENABLED"
LEAST_LETTERS = 8  # different ones in a key that somebody made at random


def packages() -> Iterator[Finding]:
    """The versions of Python and of what is installed, against what this version of FreshFlow asks for."""
    wanted, running = metadata("freshflow")["Requires-Python"], sys.version.split()[0]
    wrong = [] if fits(running, wanted) else [f"Python {running} (wanted {wanted})"]
    asked = [
        re.split(r"(?=[<>=!~; ])", line, maxsplit=1) for line in requires("freshflow") or () if "extra ==" not in line
    ]
    for name, *rest in asked:
        limits = rest[0].partition(";")[0] if rest else ""
        try:
            installed = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            continue
        if not fits(installed, limits):
            wrong.append(f"{name} {installed} (wanted {limits.strip()})")
    if wrong:
        yield bad("packages", f"{', '.join(wrong)}: install requirements.lock into an environment of its own.")
    else:
        yield good("packages", f"freshflow {version('freshflow')}, Python {running}, {len(asked)} packages as required")


def fits(installed: str, limits: str) -> bool:
    """Whether a version is within limits, by its leading numbers.

    >>> fits("2.16.1", ">=2.6,<3"), fits("3.0", "<3,>=2.6"), fits("0.21.1", "==0.21.1"), fits("3.13.0", ">=3.11,<3.13")
    (True, False, True, False)
    """
    found = _numbers(installed)
    for sign, limit in re.findall(r"(>=|<=|==|<|>)\s*([\w.]+)", limits):
        bound = _numbers(limit)
        meets = {
            ">=": found >= bound,
            "<=": found <= bound,
            "==": found == bound,
            "<": found < bound,
            ">": found > bound,
        }
        if not meets[sign]:
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", text)[0])]  # type: ignore[index]  # matches anything
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def environment(variables: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that change what a job does behind its back."""
    if API in variables:
        yield bad(
            "environment", f"{API} is set, and Bytewax opens port 3030 on every network, whatever its value: unset it."
        )
    else:
        yield good("environment", "nothing that opens a port unasked")


def privacy(config: Config) -> Iterator[Finding]:
    """The key of pseudonyms; that it is there, and long enough, the configuration has seen to."""
    key = config.privacy.key
    if not config.privacy.pseudonymise:
        yield good("privacy", "users are known by their ids (privacy.pseudonymise is off)")
    elif len(set(key)) < LEAST_LETTERS:
        yield bad(
            "privacy", "privacy.key can be guessed: take what `openssl rand -hex 32` prints, and start anew with it."
        )
    else:
        yield good("privacy", f"pseudonyms, with a key of {len(key)} characters")


def metrics_address(config: Config) -> Iterator[Finding]:
    """Whether the address of the metrics is free."""
    address = config.metrics.address
    if not address:
        yield good("metrics", "Prometheus is not answered (metrics.address is empty)")
        return
    host, _, port = address.rpartition(":")
    try:
        family, kind, _, _, at = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(at)
    except OSError as error:
        yield bad("metrics", f"{address} cannot be listened at: {error.strerror}; give another --metrics-address.")
    else:
        yield good("metrics", f"{address} is free")
