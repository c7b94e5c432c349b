"""Check of Python and packages, the environment, the key of pseudonyms and the address of the metrics."""

import re
import socket
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from freshflow.config.schema import Config
from freshflow.io.findings import Finding, failed, passed

BYTEWAX_API_VARIABLE = "BYTEWAX_DATAFLOW_API_ENABLED"
MIN_DISTINCT_CHARS = 8  # distinct characters of any random key


def check_packages() -> Iterator[Finding]:
    """Yield a finding on the versions of Python and of the installed packages."""
    required_python, python_version = metadata("freshflow")["Requires-Python"], sys.version.split()[0]
    problems = (
        []
        if is_version_within(python_version, required_python)
        else [f"Python {python_version} (wanted {required_python})"]
    )
    requirements = [
        re.split(r"(?=[<>=!~; ])", line, maxsplit=1) for line in requires("freshflow") or () if "extra ==" not in line
    ]
    for name, *rest in requirements:
        limits = rest[0].partition(";")[0] if rest else ""
        try:
            installed = version(name)
        except PackageNotFoundError:
            problems.append(f"{name} is not installed")
            continue
        if not is_version_within(installed, limits):
            problems.append(f"{name} {installed} (wanted {limits.strip()})")
    if problems:
        yield failed("packages", f"{', '.join(problems)}: install requirements.lock into an environment of its own.")
    else:
        yield passed(
            "packages",
            f"freshflow {version('freshflow')}, Python {python_version}, {len(requirements)} packages as required",
        )


def is_version_within(installed: str, limits: str) -> bool:
    """Return whether a version is within limits, by its leading numbers.

    >>> is_version_within("2.16.1", ">=2.6,<3"), is_version_within("3.0", "<3,>=2.6")
    (True, False)
    >>> is_version_within("0.21.1", "==0.21.1"), is_version_within("3.13.0", ">=3.11,<3.13")
    (True, False)
    """
    installed_numbers = _version_numbers(installed)
    for sign, limit in re.findall(r"(>=|<=|==|<|>)\s*([\w.]+)", limits):
        bound = _version_numbers(limit)
        is_met = {
            ">=": installed_numbers >= bound,
            "<=": installed_numbers <= bound,
            "==": installed_numbers == bound,
            "<": installed_numbers < bound,
            ">": installed_numbers > bound,
        }
        if not is_met[sign]:
            return False
    return True


def _version_numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", text)[0])]  # type: ignore[index]  # matches anything
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def check_environment(variables: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding on environment variables that change a job's behaviour unasked."""
    if BYTEWAX_API_VARIABLE in variables:
        yield failed(
            "environment",
            f"{BYTEWAX_API_VARIABLE} is set, and with any value Bytewax opens port 3030 on every network: unset it.",
        )
    else:
        yield passed("environment", "nothing that opens a port unasked")


def check_privacy_key(config: Config) -> Iterator[Finding]:
    """Yield a finding on the key of pseudonyms; the configuration has checked its presence and length."""
    key = config.privacy.key
    if not config.privacy.pseudonymise:
        yield passed("privacy", "users are known by their ids (privacy.pseudonymise is off)")
    elif len(set(key)) < MIN_DISTINCT_CHARS:
        yield failed(
            "privacy", "privacy.key can be guessed: take what `openssl rand -hex 32` prints, and start anew with it."
        )
    else:
        yield passed("privacy", f"pseudonyms, with a key of {len(key)} characters")


def check_metrics_address(config: Config) -> Iterator[Finding]:
    """Yield a finding on the address of the metrics: it must be free."""
    address = config.metrics.address
    if not address:
        yield passed("metrics", "Prometheus is not answered (metrics.address is empty)")
        return
    host, _, port = address.rpartition(":")
    try:
        family, socket_type, _, _, socket_address = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, socket_type) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(socket_address)
    except OSError as error:
        yield failed("metrics", f"{address} cannot be listened at: {error.strerror}; give another --metrics-address.")
    else:
        yield passed("metrics", f"{address} is free")
