"""The real trainings behind search.py: which data with which settings, and the file in which each is kept.

A training is the same whenever it is repeated: the trial's seed is fixed, and one thread adds in one order.  So each
configuration is trained once, and looked up afterwards.
"""

from __future__ import annotations

import gzip
import json
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from filelock import FileLock, Timeout

from nni_dream.automl.available_space import available_space
from nni_dream.automl.scales import Scale
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.weights import WeightsSource
from nni_dream.feedback import FeedbackError, Json, TrialFeedback, parse_metric, score_of
from nni_dream.priority_building.records import BuildSettings, RecordFile, RecordsError, TrainingRecord, read_records
from nni_dream.priority_building.workers import Answer, Worker
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import Configuration, SearchSpace

__all__ = ["DATA", "DataSet", "TrainingCache", "WarmTrainers", "draw_starts", "worse_half"]

SPACES: Final = Path(__file__).parents[1] / "experiment_configs" / "spaces"
SCALE: Final[Scale] = "tiny"
N_EPOCHS: Final = 6
DRAWING_SEED: Final = 1000  # no search's: a tuner that draws with the same generator would draw the same


@dataclass(frozen=True)
class DataSet:
    """How every configuration is trained on it."""

    name: str
    task: str
    space: str  # of spaces/NAME.json and spaces/NAME_expanded.json
    n_seeds: int  # searches of each tuner, unless the command says otherwise
    n_train: int | None = None
    n_epochs: int = N_EPOCHS

    @property
    def n_drawn(self) -> int:
        """How many configurations are drawn, of whose worse half the searches start."""
        return 2 * self.n_seeds

    @property
    def options(self) -> list[str]:
        """The trial's options, but for the folder of the data."""
        words = ["--data", self.name, "--task", self.task, "--scale", SCALE, "--epochs", str(self.n_epochs)]
        return words if self.n_train is None else [*words, "--n-train", str(self.n_train)]

    def base_space(self) -> dict[str, Json]:
        return self._space(self.space)

    def expanded_space(self) -> dict[str, Json]:
        return self._space(f"{self.space}_expanded")

    def complete(self, configuration: Configuration) -> Configuration:
        """Return the configuration with every default stated: equal for all that train the same model."""
        return read_settings(self.task, configuration).to_nested()

    def _space(self, name: str) -> dict[str, Json]:
        """Without what needs pretrained weights: at this scale nobody publishes any."""
        space = json.loads((SPACES / f"{name}.json").read_text(encoding="utf-8"))
        return available_space(space, WeightsSource(SCALE)).space


DATA: Final = {
    data.name: data
    for data in (
        DataSet("digits", "image_classification", "image", n_seeds=10),
        DataSet("trec", "text_classification", "text", n_seeds=5, n_train=2000),
        DataSet("cifar10", "image_classification", "image", n_seeds=5, n_train=5000),
    )
}


class TrainingCache:
    """The trainings on one data set, in a file that is continued: DATA.jsonl, or packed as DATA.jsonl.gz.

    Nothing is written before the first training is added, so that a report can be made while another command trains.

    Raises:
        RecordsError: If the file holds trainings with other settings.
    """

    def __init__(self, folder: Path, data: DataSet) -> None:
        self.data = data
        self.settings = _settings(data)
        self._path = folder / f"{data.name}.jsonl"
        self._packed = folder / f"{data.name}.jsonl.gz"
        self._file: RecordFile | None = None
        self._lock = FileLock(folder / f".{data.name}.lock")  # held while this command adds trainings
        self._known = self._read()

    @property
    def records(self) -> list[TrainingRecord]:
        return list(self._known.values())

    def find(self, configuration: Configuration) -> TrainingRecord | None:
        return self._known.get(self.identity(configuration))

    def identity(self, configuration: Configuration) -> str:
        return canonical_json(self.data.complete(configuration))

    def add(self, configuration: Configuration, answer: Answer) -> None:
        """Keep what a worker answered; it is on disk when this returns.

        Raises:
            RecordsError: If another command is adding to this file.
        """
        if self._file is None:
            self._file = self._open()
        parameters = self.data.complete(configuration)
        if canonical_json(parameters) in self._known:  # by a command that has ended since this one began
            return
        number = 1 + max((record.model for record in self._known.values()), default=-1)
        record = TrainingRecord(model=number, parameters=parameters, seconds=answer.seconds, **_outcome(answer))
        self._file.add(record)
        self._known[canonical_json(parameters)] = record

    def pack(self) -> None:
        """If this command has added trainings, leave the packed file only: a tenth of the size."""
        if self._file is None:
            return
        draft = self._packed.with_suffix(".draft")
        with self._path.open("rb") as file, draft.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
            shutil.copyfileobj(file, packed)
        draft.replace(self._packed)
        self._path.unlink()
        self._file = None
        self._lock.release()

    def _read(self) -> dict[str, TrainingRecord]:
        held = next((path for path in (self._path, self._packed) if path.exists()), None)
        if held is None:
            return {}
        settings, records = read_records(held)
        _refuse_other(held, settings, self.settings)
        return {canonical_json(record.parameters): record for record in records}

    def _open(self) -> RecordFile:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RecordsError(f"{self._path}: another command is adding trainings to it") from error
        if self._packed.exists() and not self._path.exists():
            draft = self._path.with_suffix(".draft")
            draft.write_bytes(gzip.decompress(self._packed.read_bytes()))
            draft.replace(self._path)  # as a whole: it goes before the packed one
        self._known = self._read()
        return RecordFile(self._path, self.settings)


def _settings(data: DataSet) -> BuildSettings:
    return BuildSettings(
        data=data.name,
        trial_command=" ".join(["python3 -m nni_dream.automl.trial", *data.options]),
        search_space=data.expanded_space(),
        optimize_mode="maximize",
        seed=DRAWING_SEED,
        n_models=data.n_drawn,
    )


def _refuse_other(path: Path, known: BuildSettings, wanted: BuildSettings) -> None:
    for name in sorted(set(BuildSettings.model_fields) - {"n_models"}):  # more that are drawn do not change the others
        if getattr(known, name) != getattr(wanted, name):
            raise RecordsError(f"{path}: has trainings with another {name}: name another --cache, or remove it")


def _outcome(answer: Answer) -> dict[str, Json]:
    score = score_of(answer.metric)
    if answer.error is not None or score is None:
        return {"status": "failed", "error": answer.error or "it reported no finite score"}
    try:
        feedback = parse_metric(answer.metric) or TrialFeedback()
    except FeedbackError as error:
        return {"status": "failed", "error": str(error)}
    return {"status": "succeeded", "score": score, "feedback": feedback.model_copy(update={"parameters": None})}


class WarmTrainers:
    """Trains on any of the data sets in processes that stay.

    Args:
        data_folder: It holds a folder for each data set.
        n_workers: So many at a time.
    """

    def __init__(self, data_folder: Path, n_workers: int) -> None:
        self.n_workers = n_workers
        self._folder = data_folder
        self._pool = ThreadPoolExecutor(n_workers)
        self._free: dict[str, list[Worker]] = {}  # data set -> workers that wait
        self._all: list[Worker] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def begin(self, data: DataSet, configuration: Configuration) -> Future[Answer]:
        """Train one configuration as soon as a worker is free."""
        return self._pool.submit(self._train, data, configuration)

    def close(self) -> None:
        """End the processes, each after the training that it is at."""
        self._is_closed = True
        self._pool.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.close()

    def _train(self, data: DataSet, configuration: Configuration) -> Answer:
        worker = self._take(data)
        answer = worker.train(configuration)
        if answer.seconds is None and not self._is_closed:  # the process died: by a full memory, or by chance
            answer = worker.train(configuration)
        with self._lock:
            self._free[data.name].append(worker)
        return answer

    def _take(self, data: DataSet) -> Worker:
        with self._lock:
            waiting = self._free.setdefault(data.name, [])
            if waiting:
                return waiting.pop()
            worker = Worker([*data.options, "--data-dir", str((self._folder / data.name).resolve())])
            self._all.append(worker)
            return worker


def draw_starts(data: DataSet) -> list[Configuration]:
    """Draw the configurations of the base space of whose worse half the searches start."""
    space, rng = SearchSpace(data.base_space()), np.random.default_rng(DRAWING_SEED)
    return [space.sample(rng) for _ in range(data.n_drawn)]


def worse_half(drawn: Sequence[Configuration], scores: Sequence[float | None]) -> list[Configuration]:
    """Return the configurations that are at or below the median, in the order in which they were drawn.

    Those that failed are left out: nothing could be repaired.
    """
    median = np.median([score for score in scores if score is not None])
    return [each for each, score in zip(drawn, scores, strict=True) if score is not None and score <= median]
