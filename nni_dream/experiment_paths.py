"""Where NNI keeps an experiment's files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nni_dream.journal import JOURNAL_NAME

__all__ = ["DEFAULT_WORKING_DIRECTORY", "journal_path", "trials_folder"]

DEFAULT_WORKING_DIRECTORY: Final = Path("~/nni-experiments")  # with a folder for each experiment, named by its id


def journal_path(folder: Path) -> Path:
    """Return the journal in the folder of an experiment of `DreamTuner`."""
    return folder / "log" / JOURNAL_NAME


def trials_folder(folder: Path) -> Path:
    """Return where NNI's local training service keeps the trials' output folders, each named by its job."""
    return folder / "environments" / "local-env" / "trials"
