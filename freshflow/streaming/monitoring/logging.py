"""How the log of a job is written to standard error: a line of text a record, or a JSON object a line."""

import logging
import sys
from datetime import UTC, datetime

import msgspec

from freshflow.config.schema import LogConfig

__all__ = ["is_json_logging", "configure_logging"]


class JsonFormatter(logging.Formatter):
    """A record as `{"at", "level", "logger", "message", "error"?, ...}`, `at` in UTC; `counted` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
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
    """Writes to what standard error is by then: the command line exchanges it while it runs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        sys.stderr.write(f"{self.format(record)}\n")
        sys.stderr.flush()


def configure_logging(config: LogConfig) -> None:
    """Write the log of this process as the configuration says; text is what it is written as before."""
    if config.format == "json":
        handler = StderrHandler()
        handler.setFormatter(JsonFormatter())
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.getLogger("freshflow").setLevel(logging.INFO)


def is_json_logging() -> bool:
    """Whether the log of this process is written in JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)
