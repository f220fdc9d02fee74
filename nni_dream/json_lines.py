"""Files of one JSON value a line that grow line by line, and that nobody but their owner may read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["append_line", "is_torn"]

PRIVATE: Final = 0o600  # file mode: parameters may be nobody else's business


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, which is made if it is not there; a kill of this process after that does not lose it.

    Args:
        line: Without its end; an empty one ends a torn line.

    Raises:
        OSError: If it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def is_torn(path: Path) -> bool:
    """Whether the last line has no end, as a kill leaves it: what comes next would be lost with it."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except OSError:  # there is no such file, or it is empty
        return False
