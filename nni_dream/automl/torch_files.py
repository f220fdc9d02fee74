"""Files as ``torch.save`` writes them, which may be broken, or of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["TorchFileError", "read_torch_file"]


class TorchFileError(ValueError):
    """torch cannot read a file."""


def read_torch_file(path: Path) -> Any:
    """Return what is in the file, on the CPU; nothing in it is run.

    Raises:
        OSError: If there is no such file.
        TorchFileError: If it is broken, or holds more than tensors and plain values.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch does what the bytes say: a broken file makes it raise anything
        raise TorchFileError(f"torch cannot read {path.name}: {type(error).__name__}: {error}") from error
