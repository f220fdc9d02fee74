"""The trainings behind a priority table, one JSON object a line: resumable, and the stuff of replay benchmarks.

The first line says how all of them were made.  Each line after it is one training: of a seed model (``action`` is null)
or of that model after one action.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nni_dream.feedback import Json, OptimizeMode, TrialFeedback
from nni_dream.json_lines import append_line, is_torn

__all__ = ["BuildSettings", "RecordFile", "RecordsError", "TrainedAction", "TrainingRecord", "read_records"]


class RecordsError(ValueError):
    """A file of trainings cannot be read, or is of other trainings; the message says which rule is broken."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BuildSettings(_Line):
    """What all trainings of a file share; only trainings with the same settings can be compared."""

    version: Literal[1] = 1
    data: str = Field(min_length=1)  # the name of the data set, or of the trials' command where it names none
    trial_command: str  # with its options: epochs, batch size, scale, number of samples
    search_space: dict[str, Json]
    optimize_mode: OptimizeMode
    seed: int = Field(ge=0)  # of the seed models and of the order of the actions
    n_models: int = Field(ge=1)
    roles: dict[str, str] = {}  # parameter -> role, where the user states it


class TrainedAction(_Line):
    """The one action that a seed model was given."""

    object: str
    value: Json
    key: str  # its place in the space and its value


class TrainingRecord(_Line):
    """One training."""

    model: int = Field(ge=0)  # number of the seed model
    action: TrainedAction | None = None  # None: the seed model itself
    parameters: dict[str, Json]
    status: Literal["succeeded", "failed"]
    score: float | None = None  # best validation score; None when it failed
    feedback: TrialFeedback = TrialFeedback()  # every epoch, without the numbers of its layers
    seconds: float | None = Field(default=None, ge=0)  # of wall time; None: in another line, or unknown
    error: str | None = None  # why it failed

    @property
    def key(self) -> tuple[int, str | None]:
        """Which training of the plan this is."""
        return self.model, None if self.action is None else self.action.key


class RecordFile:
    """Appends trainings to a file, and knows those that it had before.

    Args:
        path: Of the file; it and its folder are made if they are not there.

    Raises:
        RecordsError: If the file holds trainings with other settings, is none of ours, or is gzipped.
    """

    def __init__(self, path: Path, settings: BuildSettings) -> None:
        self.path = path
        self.settings = settings
        self.records: dict[tuple[int, str | None], TrainingRecord] = {}
        if path.suffix == ".gz":
            raise RecordsError(f"{path}: is gzipped, and cannot be added to: gunzip -k it, and name that file")
        if path.exists() and path.stat().st_size:
            known, records = read_records(path)
            _refuse_other(path, known, settings)
            self.records = {record.key: record for record in records}
            if is_torn(path):
                append_line(path, "")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            append_line(path, _to_json(settings))

    def add(self, record: TrainingRecord) -> None:
        """Append one training; a kill of this process after that does not lose it."""
        self.records[record.key] = record
        append_line(self.path, _to_json(record))


def read_records(path: Path) -> tuple[BuildSettings, list[TrainingRecord]]:
    """Read a file of trainings, also a gzipped one; a torn line costs that line only.

    A training that is there twice, because its result came after its failure, is what its last line says.

    Raises:
        RecordsError: If there is no such file, or its first line is not one of ours.
    """
    try:
        with _open(path) as file:
            lines = iter(file)
            settings = BuildSettings.model_validate_json(next(lines, ""))
            return settings, list({record.key: record for record in _records(lines)}.values())
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordsError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        reason = f"its first line does not say how trainings were made: {where}: {first['msg']}"
        raise RecordsError(f"{path}: {reason}") from error


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return cast("IO[str]", gzip.open(path, "rt", encoding="utf-8"))
    return path.open(encoding="utf-8")


def _records(lines: Iterable[str]) -> Iterator[TrainingRecord]:
    for line in lines:
        try:
            yield TrainingRecord.model_validate_json(line)
        except ValidationError:
            continue


def _refuse_other(path: Path, known: BuildSettings, wanted: BuildSettings) -> None:
    one, other = known.model_dump(mode="json"), wanted.model_dump(mode="json")
    # More seed models, or another cap, only add to the plan.
    different = sorted(name for name in one if one[name] != other[name] and name != "n_models")
    if different:
        name = different[0]
        raise RecordsError(
            f"{path}: has trainings with {name} {_short(one[name])}, wanted is {_short(other[name])}; trainings with "
            "other settings cannot be compared: name another file, or the same settings"
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else f"{text[:160]}..."


def _to_json(line: _Line) -> str:
    return json.dumps(line.model_dump(mode="json", exclude_defaults=True), allow_nan=False, separators=(",", ":"))
