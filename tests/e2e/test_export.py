"""From a real search to a model that answers: what a new user does first."""

from __future__ import annotations

import subprocess

import pytest
from e2e.experiment import BIN, own_environment, processes_of, write_config

from nni_dream.automl import load
from nni_dream.automl.digits import load_digits_split
from nni_dream.experiment_folders import find_experiment
from nni_dream.experiment_paths import trials_folder

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_search_and_take_away_the_best(tmp_path):
    config = write_config(
        tmp_path,
        searchSpace={"learning_rate": {"_type": "choice", "_value": [0.1, 0.01, 0.001, 1e-5]}},
        trialCommand="python3 -m nni_dream.automl.digits --epochs 1",
        tuner={"name": "Dream", "classArgs": {"seed": 1}},
        trialConcurrency=2,
        maxTrialNumber=4,
    )

    def nni_dream(*words):
        done = subprocess.run(
            [BIN / "nni-dream", *words],
            cwd=tmp_path,
            env=own_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    printed = nni_dream("run", config, "--keep-models", "2")
    experiment = find_experiment(str(tmp_path / "experiments" / "_latest"))
    ranked = experiment.summary.ranked
    kept = {path.parent.name for path in trials_folder(experiment.path).glob("*/best_model.pt")}
    assert len(ranked) == 4
    assert kept == {row.job for row in ranked[:2]}
    (command,) = [line for line in printed.splitlines() if line.startswith("to take it away: ")]
    words = command.partition("nni-dream ")[2].split()

    nni_dream(*words, "--onnx")
    model = load(tmp_path / "my_model")
    test = load_digits_split(normalize=False).test
    answers = model.predict(test.inputs[:, 0].byte().numpy())
    accuracy = sum(answer.label == str(int(label)) for answer, label in zip(answers, test.targets, strict=True)) / len(
        test
    )
    (told,) = [line for line in printed.splitlines() if line.startswith("test score of the best model: ")]
    assert told == f"test score of the best model: {accuracy:.4f} (347 samples, used once)"
    assert (tmp_path / "my_model" / "model.onnx").is_file()
    assert processes_of(tmp_path) == []
