"""Log of a job on standard error: one line of text, or one JSON object, for each record."""

import logging
import sys
from datetime import UTC, datetime

import msgspec

from freshflow.config.schema import LogConfig


class JsonFormatter(logging.Formatter):
    """Formatter of `{"at", "level", "logger", "message", "error"?, ...}`, `at` in UTC; `counted` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "counted", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class StderrHandler(logging.Handler):
    """Handler that looks up `sys.stderr` for each record, as the command line replaces it while it runs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        sys.stderr.write(f"{self.format(record)}\n")
        sys.stderr.flush()


def configure_logging(config: LogConfig) -> None:
    """Write the log of this process in the configured format; the commands begin with text."""
    if config.format == "json":
        handler = StderrHandler()
        handler.setFormatter(JsonFormatter())
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.getLogger("freshflow").setLevel(logging.INFO)


def is_json_logging() -> bool:
    """Return whether the log of this process is written in JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)
