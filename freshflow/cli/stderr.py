"""Keeping Rust's panic messages from a user who is about to read one clear sentence instead."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from freshflow.errors import find_user_error

__all__ = ["defer_native_stderr"]


@contextmanager
def defer_native_stderr() -> Iterator[None]:
    """Hold back what native code writes to standard error; show it afterwards unless a user's error ended the block.

    When a step raises, Bytewax panics in Rust, which prints a stack of its own before the error gets to us. Python
    goes on writing to the real standard error all the while.
    """
    sys.stderr.flush()
    python_stderr, stderr_fd = sys.stderr, os.dup(2)
    with tempfile.TemporaryFile() as capture_file, os.fdopen(stderr_fd, "w", buffering=1) as stream:
        os.dup2(capture_file.fileno(), 2)
        sys.stderr = stream
        is_user_error = False
        try:
            yield
        except Exception as error:
            is_user_error = find_user_error(error) is not None
            raise
        finally:
            sys.stderr = python_stderr
            os.dup2(stderr_fd, 2)
            if not is_user_error:
                capture_file.seek(0)
                os.write(2, capture_file.read())
