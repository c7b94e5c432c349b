"""Capture of native standard error, to hide Rust's panic messages behind a one-sentence user error."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from freshflow.errors import find_user_error


@contextmanager
def defer_native_stderr() -> Iterator[None]:
    """Capture native output to standard error, and print it after the block unless a user error ended the block.

    When a step raises, Bytewax panics in Rust, and Rust prints its own stack before the exception arrives. Python still
    writes to the real standard error.
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
