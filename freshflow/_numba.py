"""Compiled functions: the inner loops of ranking and folding in, turned into machine code by Numba at first use.

What a call of numpy costs is paid per call, and one event makes some two hundred of them; compiled, the same
arithmetic takes a twentieth of the time (docs/decisions/0006-compiled-loops.md). The machine code is kept in a
folder, so that only the first start after an installation or an update waits for the compiler.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import binding
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from freshflow._lazy_import import lazy_imports

with lazy_imports("scipy.linalg", "scipy.linalg.cython_blas"):  # which Numba looks for, and no function of ours calls
    import numba.np.arraymath

__all__ = ["jit", "copy_bytes", "jit_inline", "jit_no_refcount"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _find_cache_folder() -> str | None:
    """A folder of this user's for the machine code of these very sources; None if there is nowhere to write.

    Numba looks at the file of a function only, not at those of the functions that it calls: a name made of all sources
    keeps machine code from outliving any of them.
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


def _pin_cpu_target() -> None:
    """Compile for what all processors of the last ten years can do, and not for what this one can do beside.

    Lists depend on the order in which numbers are added up, and that on how many a processor takes at once. So they are
    the same bytes on all of these, and 512 bits at a time were no faster. Others, and who says otherwise, go by Numba.
    """
    host_features = binding.get_host_cpu_features()
    if (
        numba.config.CPU_NAME is None
        and numba.config.CPU_FEATURES is None
        and all(map(host_features.get, ("avx2", "fma")))
    ):
        numba.config.CPU_NAME, numba.config.CPU_FEATURES = "haswell", ""


_pin_cpu_target()

# Sums may be reordered; not-a-number and infinity keep their meaning. Nothing is divided by way of an estimate of the
# reciprocal, which is another one on processors of another make.
JIT_OPTIONS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}

_CACHE_FOLDER = _find_cache_folder()
if _CACHE_FOLDER is not None:
    numba.config.CACHE_DIR = _CACHE_FOLDER


def jit(function: Function) -> Function:
    """The function as machine code. Additions may be reordered; division by zero gives infinity, as in numpy."""
    dispatcher: Function = numba.njit(cache=_CACHE_FOLDER is not None, _nrt=True, **JIT_OPTIONS)(function)
    return dispatcher


def jit_no_refcount(function: Function) -> Function:
    """The same for a function that makes no array and returns none: nothing in it counts references to arrays.

    Counting one up and down, wherever an array is handed on or cut, is a call and a locked instruction each time.
    """
    dispatcher: Function = numba.njit(cache=_CACHE_FOLDER is not None, _nrt=False, **JIT_OPTIONS)(function)
    return dispatcher


def jit_inline(function: Function) -> Function:
    """The same for a small function that is called for every candidate: it becomes part of its callers.

    Handing arrays to a function counts their references up and down, which costs more than what it does with them.
    """
    dispatcher: Function = numba.njit(inline="always", **JIT_OPTIONS)(function)
    return dispatcher


def copy_bytes(source: NDArray[np.uint8], start: int, target: NDArray[np.uint8], target_start: int, count: int) -> None:
    """Copy `count` bytes, from `start` of one array to `target_start` of another, as the C library does."""
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
