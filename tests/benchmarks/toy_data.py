"""A data set whose trainings take no time: a configuration's score is a function of it."""

from __future__ import annotations

import zlib
from concurrent.futures import Future
from dataclasses import dataclass

from search_trainings import DataSet

from nni_dream.feedback import EpochFeedback, TrialFeedback, final_metric
from nni_dream.priority_building.workers import Answer
from nni_dream.search.json_values import canonical_json

VANILLA = {"_name": "vanilla", "kernel_size": {"_type": "choice", "_value": [3, 5, 7]}}
BASE = {
    "block_type": {"_type": "choice", "_value": [VANILLA, {"_name": "xception"}]},
    "dropout": {"_type": "choice", "_value": [0.0, 0.25, 0.5]},
    "learning_rate": {"_type": "choice", "_value": [0.1, 0.01, 0.001, 0.0001, 0.00001]},
    "optimizer": {"_type": "choice", "_value": ["adam", "sgd", "nadam"]},
}
SGD = {"_name": "sgd", "momentum": {"_type": "choice", "_value": [0.0, 0.5, 0.9]}}
EXPANDED = {**BASE, "optimizer": {"_type": "choice", "_value": [{"_name": "adam"}, SGD, {"_name": "nadam"}]}}


@dataclass(frozen=True)
class ToyData(DataSet):
    def base_space(self):
        return BASE

    def expanded_space(self):
        return EXPANDED

    def complete(self, configuration):
        optimizer = configuration["optimizer"]
        if not isinstance(optimizer, dict):
            optimizer = {"_name": optimizer} | ({"momentum": 0.0} if optimizer == "sgd" else {})
        return {**configuration, "optimizer": optimizer}


TOY = ToyData("toy", "image_classification", "none", n_seeds=5, n_epochs=4)


def score_of(configuration):
    return zlib.crc32(canonical_json(configuration).encode()) % 1000 / 1000


class ToyTrainers:
    """Answers at once, and notes what it was asked."""

    n_workers = 2

    def __init__(self, fails=lambda configuration: False, limit=10_000):
        self.trained = []
        self._fails = fails
        self._limit = limit

    def begin(self, data, configuration):
        if len(self.trained) == self._limit:
            raise KeyboardInterrupt
        self.trained.append(canonical_json(configuration))
        future = Future()
        future.set_result(self._answer(data, configuration))
        return future

    def _answer(self, data, configuration):
        if self._fails(configuration):
            return Answer(error="it is too large", seconds=1.0)
        score = score_of(configuration)
        healthy = {"gradient_ratio": 1.0, "dead_unit_share": 0.0, "weight_norm": 1.0, "n_layers": 3}
        epochs = tuple(
            EpochFeedback(epoch=i, val_score=score * (i + 1) / data.n_epochs, **healthy) for i in range(data.n_epochs)
        )
        return Answer(final_metric(TrialFeedback(epochs=epochs), score, None), seconds=2.0)
