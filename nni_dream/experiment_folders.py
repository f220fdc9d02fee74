"""An experiment's folder, running or long ended: its journal, and the folders of its trials.

The journal says which trial was best; NNI's own records can pair a score with another trial's parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from nni_dream.automl.kept_files import is_model_of, keeps_model
from nni_dream.experiment_paths import DEFAULT_WORKING_DIRECTORY, journal_path, trials_folder
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.report.summary import SearchSummary, TrialRow, summarise

__all__ = ["ExperimentFolder", "ExperimentFolderError", "check_kept_model", "find_experiment"]

N_NAMED: Final = 5  # experiments or trials that a message lists


class ExperimentFolderError(ValueError):
    """There is no such experiment, or not what is asked of it; the message says where it was looked for."""


@dataclass(frozen=True)
class ExperimentFolder:
    """NNI's folder of an experiment: log/, environments/."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.resolve().name  # NNI keeps a link `_latest`

    @cached_property
    def summary(self) -> SearchSummary:
        """What the journal told when this was first asked, however far the search had come."""
        return summarise(read_journal(journal_path(self.path)))

    def row(self, number: int | None) -> TrialRow:
        """Return a trial by its number, or the best.

        Raises:
            ExperimentFolderError: If there is none, or it has no score.
        """
        if self.summary.best is None:
            raise ExperimentFolderError(f"{self.path}: no trial has a score yet; see {self.path / 'log'}")
        if number is None:
            return self.summary.best
        row = next((row for row in self.summary.ranked if row.number == number), None)
        if row is None:
            best = _listed([str(row.number) for row in self.summary.ranked])
            raise ExperimentFolderError(f"{self.path}: no trial {number} has a score; the best that have one: {best}")
        return row

    def kept_model(self, row: TrialRow) -> Path:
        """Return the folder with the model that a trial has kept.

        Raises:
            ExperimentFolderError: If it is not on this machine, or keeps no model, or one of other parameters.
        """
        folder = self._folder_of(row)
        if folder is None or not folder.is_dir():
            raise ExperimentFolderError(
                f"trial {row.number} has no folder in {trials_folder(self.path)}: it ran on another machine, or the "
                "folder was removed; copy it to this machine and give it as --trial-folder"
            )
        if not keeps_model(folder):
            raise ExperimentFolderError(
                f"{folder}: trial {row.number} keeps no model: only trials of nni_dream.automl do, and `nni-dream run` "
                f"removes all but the best (--keep-models); trials that keep one: {self._told_kept()}"
            )
        check_kept_model(folder, row)
        return folder

    def _folder_of(self, row: TrialRow) -> Path | None:
        """By the job; where the journal does not know it, as after some resumes, by the parameters."""
        folders = trials_folder(self.path)
        if row.job is not None:
            return folders / row.job
        return next((folder for folder in sorted(folders.glob("*")) if is_model_of(folder, row.parameters)), None)

    def _told_kept(self) -> str:
        folders = trials_folder(self.path)
        rows = [row for row in self.summary.ranked if row.job is not None]
        return _listed([str(row.number) for row in rows if keeps_model(folders / str(row.job))])


def check_kept_model(folder: Path, row: TrialRow) -> None:
    """Check that a folder holds the model of a trial.

    Raises:
        ExperimentFolderError: If it holds none, or one of other parameters.
    """
    if not keeps_model(folder):
        raise ExperimentFolderError(f"{folder}: holds no model as trials of nni_dream.automl keep it")
    if not is_model_of(folder, row.parameters):
        raise ExperimentFolderError(
            f"{folder}: holds a model of other parameters than the journal says of trial {row.number}; "
            "give the folder of that trial as --trial-folder"
        )


def find_experiment(given: str, working_directory: Path = DEFAULT_WORKING_DIRECTORY) -> ExperimentFolder:
    """Return an experiment by its folder, or by its id.

    Args:
        working_directory: The folder with the experiments, where an id is looked for.

    Raises:
        ExperimentFolderError: If there is none, or it has no journal.
    """
    working_directory = working_directory.expanduser()
    path = Path(given).expanduser()
    path = path if path.is_dir() else working_directory / given
    if not path.is_dir():
        raise ExperimentFolderError(
            f"{given!r} is no folder, and no experiment in {working_directory} (--working-dir); "
            f"{_told_experiments(working_directory)}"
        )
    if not journal_path(path).is_file():
        raise ExperimentFolderError(
            f"{path}: has no log/{JOURNAL_NAME}, so it is no experiment of DreamTuner; {_told_experiments(path)}"
        )
    return ExperimentFolder(path)


def _told_experiments(folder: Path) -> str:
    journals = [path for path in folder.glob(f"*/log/{JOURNAL_NAME}") if not path.parents[1].is_symlink()]
    newest = sorted(journals, key=lambda path: path.stat().st_mtime, reverse=True)
    return f"experiments there: {_listed([path.parents[1].name for path in newest])}"


def _listed(names: list[str]) -> str:
    return (", ".join(names[:N_NAMED]) or "none") + (" and others" if len(names) > N_NAMED else "")
