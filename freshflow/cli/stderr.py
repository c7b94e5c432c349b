"""Keeping Rust's panic messages from a user who is about to read one clear sentence instead."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from freshflow.errors import user_error

__all__ = ["panics_kept_back"]


@contextmanager
def panics_kept_back() -> Iterator[None]:
    """Hold back what native code writes to standard error; show it afterwards unless a user's error ended the block.

    When a step raises, Bytewax panics in Rust, which prints a stack of its own before the error gets to us. Python
    goes on writing to the real standard error all the while.
    """
    sys.stderr.flush()
    python_stderr, real = sys.stderr, os.dup(2)
    with tempfile.TemporaryFile() as kept, os.fdopen(real, "w", buffering=1) as stream:
        os.dup2(kept.fileno(), 2)
        sys.stderr = stream
        silent = False
        try:
            yield
        except Exception as error:
            silent = user_error(error) is not None
            raise
        finally:
            sys.stderr = python_stderr
            os.dup2(real, 2)
            if not silent:
                kept.seek(0)
                os.write(2, kept.read())
