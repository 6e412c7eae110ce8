"""Logs for machines: one JSON object a line on standard error, no secret and no claim in it."""

import json
import sys
from datetime import UTC, datetime
from enum import IntEnum
from typing import TextIO


class Level(IntEnum):
    """How much an operator should care."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Log:
    """Where a node says what it does."""

    def __init__(self, level: Level = Level.INFO, stream: TextIO | None = None) -> None:
        self._level, self._stream = level, stream or sys.stderr

    def debug(self, event: str, **fields: object) -> None:
        """Say what only a developer asks for."""
        self._say(Level.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Say what happened."""
        self._say(Level.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Say what an operator should look at when there is time."""
        self._say(Level.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Say what an operator must look at now."""
        self._say(Level.ERROR, event, fields)

    def _say(self, level: Level, event: str, fields: dict[str, object]) -> None:
        if level < self._level:
            return
        shown = {key: _shown(value) for key, value in fields.items()}
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": level.name.lower(), "event": event} | shown
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()


def _shown(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, int | str | None | list | dict) else str(value)
