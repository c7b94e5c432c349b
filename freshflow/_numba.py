"""Compiled functions: the inner loops of ranking and item statistics as machine code, compiled by Numba at first use.

A call of numpy costs about a microsecond, and one event makes some two hundred of them; compiled, the same arithmetic
takes a twentieth of the time (docs/decisions/0006-compiled-loops.md). The machine code is cached in a folder, so only
the first start after an installation or an update waits for the compiler.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])


def _find_cache_folder() -> str | None:
    """Return this user's folder for the machine code of exactly these sources; None if no folder is writable.

    Numba compares the file of a function only, not those of the functions that it calls: a folder name hashed from all
    sources keeps machine code from outliving any of them.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return os.environ["NUMBA_CACHE_DIR"]
    package = Path(__file__).parent
    sources = sorted(source for folder in ("items", "ranking") for source in (package / folder).glob("*.py"))
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    for source in (Path(__file__), *sources):
        digest.update(source.read_bytes())
    user_suffix = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "freshflow"
    for folder in (user_cache, Path(tempfile.gettempdir()) / f"freshflow{user_suffix}"):
        try:
            (folder / digest.hexdigest()).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and (not user_suffix or folder.stat().st_uid == os.getuid()):
            return str(folder / digest.hexdigest())
    return None


# Sums may be reordered; NaN and infinity keep their meaning. Division never uses an estimate of the reciprocal, which
# differs between makes of processors.
JIT_OPTIONS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}

_CACHE_FOLDER = _find_cache_folder()


def jit(function: Function) -> Function:
    """Compile a function. Additions may be reordered; division by zero gives infinity, as in numpy."""
    return _compile_cached(function, _nrt=True)


def jit_no_refcount(function: Function) -> Function:
    """Compile a function that neither makes nor returns an array, without counting references to arrays.

    Each count is a call and a locked instruction, wherever an array is passed on or sliced.
    """
    return _compile_cached(function, _nrt=False)


def jit_inline(function: Function) -> Function:
    """Compile a small function that is called for every candidate as part of its callers.

    Passing arrays to a function counts their references up and down, which costs more than the body of a small one.
    """
    dispatcher: Function = numba.njit(inline="always", **JIT_OPTIONS)(function)
    return dispatcher


def _compile_cached(function: Function, **options: Any) -> Function:
    with _numba_cache_dir(_CACHE_FOLDER):
        dispatcher: Function = numba.njit(cache=_CACHE_FOLDER is not None, **options, **JIT_OPTIONS)(function)
    return dispatcher


@contextmanager
def _numba_cache_dir(folder: str | None) -> Iterator[None]:
    """Set Numba's cache folder for the functions declared in the block: it reads the setting when it declares one."""
    previous_folder = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = folder or previous_folder
    try:
        yield
    finally:
        numba.config.CACHE_DIR = previous_folder


def copy_bytes(source: NDArray[np.uint8], start: int, target: NDArray[np.uint8], target_start: int, count: int) -> None:
    """Copy bytes between arrays; compiled, with the C library's memcpy.

    Args:
        source: (N,) uint8.
        start: The first byte to copy.
        target: (M,) uint8, changed in place.
        target_start: Where the first byte goes.
        count: The number of bytes.
    """
    target[target_start : target_start + count] = source[start : start + count]


@intrinsic  # type: ignore[untyped-decorator]
def _memcpy(typing: Any, source: Any, start: Any, target: Any, target_start: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source_pointer = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        target_pointer = context.make_array(signature.args[2])(context, builder, arguments[2]).data
        cgutils.raw_memcpy(
            builder,
            builder.gep(target_pointer, [arguments[3]]),
            builder.gep(source_pointer, [arguments[1]]),
            arguments[4],
            1,
        )

    return types.void(source, types.intp, target, types.intp, types.intp), generate


@overload(copy_bytes, inline="always")  # type: ignore[untyped-decorator]
def _copy_bytes(source: Any, start: Any, target: Any, target_start: Any, count: Any) -> Any:
    def copy(source: Any, start: Any, target: Any, target_start: Any, count: Any) -> None:
        _memcpy(source, start, target, target_start, count)

    return copy
