"""A figure becomes a file as a whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from matplotlib.figure import Figure

__all__ = ["save_figure"]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the name's ending says; a file that was there stays until then.

    Raises:
        OSError: If it cannot be written.
        ValueError: If no format has that ending.
    """
    draft = path.with_name(f"{path.stem}.draft{os.getpid()}{path.suffix}")
    try:
        figure.savefig(draft)
        draft.replace(path)
    finally:
        with suppress(OSError):  # it is the file now, or was never there
            draft.unlink()
