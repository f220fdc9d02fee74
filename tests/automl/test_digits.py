import json
import os
import signal
from collections import Counter
from functools import partial

import pytest
import torch
from automl import trial_process
from automl.exported_models import build_case
from automl.trial_process import inside_nni

from nni_dream.automl.digits import load_digits_split, main
from nni_dream.automl.digits_parameters import DigitsParameters
from nni_dream.automl.evaluation import evaluate
from nni_dream.automl.kept_model import load_model, save_model

start_trial = partial(trial_process.start_trial, "nni_dream.automl.digits")
run_trial = partial(trial_process.run_trial, "nni_dream.automl.digits", timeout_seconds=60)


def as_rows(images):
    return [(int(label), *row) for label, row in zip(images.targets, images.inputs.flatten(1).tolist(), strict=True)]


def test_split_is_disjoint_and_complete():
    split = load_digits_split(normalize=False)
    whole = sum((Counter(as_rows(part)) for part in split), Counter())
    assert [len(part) for part in split] == [1100, 350, 347]
    assert len(whole) == 1797  # no two digits are equal: none is in two parts


def test_split_is_stratified():
    for part in load_digits_split(normalize=True):
        counts = torch.bincount(part.targets, minlength=10)
        expected = torch.bincount(torch.cat([each.targets for each in load_digits_split(normalize=True)])) / 1797
        assert (counts - expected * len(part)).abs().max() <= 1.5


def test_split_is_fixed():
    first, second = load_digits_split(normalize=False), load_digits_split(normalize=False)
    assert all(torch.equal(one.inputs, other.inputs) for one, other in zip(first, second, strict=True))
    assert [part.targets[:8].tolist() for part in first] == [
        [6, 1, 4, 2, 5, 2, 2, 1],
        [3, 6, 9, 3, 2, 6, 6, 6],
        [6, 3, 3, 8, 5, 3, 6, 7],
    ]


def test_normalize():
    plain, normalized = load_digits_split(normalize=False), load_digits_split(normalize=True)
    assert set(plain.train.inputs.unique().tolist()) == set(range(17))
    assert normalized.train.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert normalized.train.inputs.std().item() == pytest.approx(1, abs=1e-5)


def test_script_trains_keeps_the_best_model_and_scores_it(tmp_path):
    alone, by_nni = tmp_path / "alone", tmp_path / "output"
    trials = [
        start_trial("--epochs", 2, "--output", alone),
        start_trial("--epochs", 2, environment=inside_nni(tmp_path, DigitsParameters().to_nested())),
    ]
    for trial in trials:
        _, errors = trial.communicate(timeout=60)
        assert trial.returncode == 0, errors

    # The same parameters and the same seed make the same model.
    first, second = (torch.load(folder / "best_model.pt", weights_only=True) for folder in (alone, by_nni))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (alone / "best_parameters.json").read_text() == (by_nni / "best_parameters.json").read_text()
    assert sorted(os.listdir(alone)) == ["best_model.pt", "best_parameters.json"]
    metrics = (tmp_path / ".nni" / "metrics").read_bytes()
    assert (metrics.count(b"PERIODICAL"), metrics.count(b"FINAL")) == (2, 1)

    evaluation = run_trial("--evaluate", by_nni)
    assert evaluation.stderr == ""
    assert json.loads(evaluation.stdout) == {"test_score": pytest.approx(0.75, abs=0.25), "n_test": 347}

    # It is a model of the data set's own pixels, and as good on them as it was in training on normalised ones.
    model, description = load_model(by_nni)
    score = evaluate(model, load_digits_split(normalize=False).validation)
    assert score.accuracy == pytest.approx(final_score(tmp_path))
    assert description.training == {"epochs": 2, "patience": 10, "seed": 0}


def final_score(folder):
    (final,) = [line for line in (folder / ".nni" / "metrics").read_text().split("ME") if "FINAL" in line]
    return json.loads(json.loads(final[final.index("{") :])["value"])["default"]


def test_a_bad_parameter_is_one_line(tmp_path):
    trial = run_trial(environment=inside_nni(tmp_path, {"optimizer": {"_name": "sdg"}}))
    assert trial.returncode == 1
    assert trial.stderr.startswith("error: parameter 'optimizer' is {'_name': 'sdg'}: expected 'adam'")
    assert trial.stderr.count("\n") == 1


def test_evaluating_an_empty_folder_is_one_line(tmp_path):
    evaluation = run_trial("--evaluate", tmp_path)
    assert evaluation.returncode == 1
    assert evaluation.stderr.startswith("error: ")
    assert "best_parameters.json" in evaluation.stderr
    assert evaluation.stderr.count("\n") == 1


def test_evaluating_a_model_of_another_data_set_is_refused(tmp_path, capsys):
    save_model(tmp_path, *build_case("resnet"))
    assert main(["--evaluate", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: holds a model of random, not of this trial\n"


def test_an_interrupt_ends_the_trial_at_once(tmp_path):
    trial = start_trial("--epochs", 100000, "--patience", 100000, "--output", tmp_path)
    assert any("intermediate result" in line for line in trial.stderr)  # the first epoch is over
    trial.send_signal(signal.SIGINT)
    try:
        _, errors = trial.communicate(timeout=5)  # what NNI grants
    finally:
        trial.kill()
    assert trial.returncode == -signal.SIGINT  # with an exit code it had failed, to NNI
    assert "Traceback" not in errors
