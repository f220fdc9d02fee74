"""Trials that need no code of the user's own, and the models that they leave.

Importing this package does not import torch: a trial asks NNI for its parameters first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nni_dream.automl.exported import ExportedModel

__all__ = ["load"]


def load(folder: str | Path) -> ExportedModel:
    """Return the model in a folder that ``nni-dream export`` has written; see `nni_dream.automl.exported`.

    Raises:
        ExportedModelError: If a file is missing or broken, or the files do not fit, or ``folder`` is no path.
    """
    from nni_dream.automl.exported import ExportedModelError, load_exported

    if not isinstance(folder, (str, os.PathLike)):
        raise ExportedModelError(f"folder is {folder!r}, expected a path: str or Path")
    return load_exported(Path(folder))
