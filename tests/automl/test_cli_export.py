"""``nni-dream export``: from the experiment that a user has to a folder that a user can take away."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from automl.exported_models import TEXTS, build_case
from kept_experiments import trial_folder, write_journal
from typer.testing import CliRunner
from waiting import wait_until

from nni_dream.automl import load
from nni_dream.automl.kept_model import save_model
from nni_dream.cli import app

DIGITS = {"block_type": "resnet"}
TEXT = {"block_type": "transformer"}


@pytest.fixture
def experiment(tmp_path):
    """An ended search on digits; its best trial and another have kept their models."""
    trials = [(0, "a", 0.5, {"block_type": "xception", "normalize": False}), (1, "b", 0.75, DIGITS), (2, "c", 0.6, {})]
    folder = write_journal(tmp_path / "experiments" / "id1", trials)
    save_model(trial_folder(folder, "a"), *build_case("digits as they are"))
    save_model(trial_folder(folder, "b"), *build_case("digits"))
    trial_folder(folder, "c").mkdir()
    return folder


def run(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_the_best_model_with_its_scores(experiment, tmp_path):
    result = run(experiment, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    first, test, wrote = result.stdout.splitlines()
    assert first == "experiment id1: trial 1, validation score 0.7500"
    assert test.startswith("test: accuracy 0.")
    assert test.endswith("(347 samples, which the search has not seen)")
    assert wrote == f"wrote {tmp_path / 'out'}: README.md, card.json, model.json, weights.safetensors"
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| 0 | 0.5000 | initial configuration |\n| 1 | 0.7500 | OA: x=1 |" in page
    assert "the best of 3 trials" in page
    assert load(tmp_path / "out").classes == [str(i) for i in range(10)]


def test_by_id_and_another_trial(experiment, tmp_path):
    result = run("id1", "--working-dir", experiment.parent, "--trial", 0, "--no-test", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[:2] == [
        "experiment id1: trial 0, validation score 0.5000",
        "note: no test score: it was not asked for",
    ]
    assert "number 3 of 3 trials" in (tmp_path / "out" / "README.md").read_text()


def test_a_trial_of_another_machine(experiment, tmp_path):
    copied = trial_folder(experiment, "b").rename(tmp_path / "copied")
    assert run(experiment, "-o", tmp_path / "out").exit_code == 1
    result = run(experiment, "-o", tmp_path / "out", "--trial-folder", copied)
    assert result.exit_code == 0, result.stderr


def test_texts_whose_data_are_gone(tmp_path):
    folder = write_journal(tmp_path / "id", [(0, "a", 0.5, TEXT)])
    model, description = build_case("text transformer")
    gone = {"name": "trec", "data_dir": str(tmp_path / "gone")}
    save_model(trial_folder(folder, "a"), model, replace(description, data=gone))
    result = run(folder, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert f"note: no test score: trec: found no train_5500.label in {tmp_path / 'gone'}" in result.stdout
    assert len(load(tmp_path / "out").predict(TEXTS)) == len(TEXTS)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["id2"], "error: 'id2' is no folder, and no experiment in "),
        (["{id1}", "--trial", "2"], "keeps no model: only trials of nni_dream.automl do"),
        (["{id1}", "--trial", "7"], "no trial 7 has a score; the best that have one: 1, 2, 0"),
        (["{id1}", "-o", "{id1}"], "is there already; give another folder, or remove this one first"),
    ],
)
def test_what_cannot_be_exported_is_one_line(experiment, tmp_path, words, error):
    words = [word.format(id1=experiment) for word in words]
    output = [] if "-o" in words else ["-o", tmp_path / "out"]
    result = run(*words, *output)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert error in line
    assert not (tmp_path / "out").exists()


def test_broken_weights_are_one_line(experiment, tmp_path):
    (trial_folder(experiment, "b") / "best_model.pt").write_bytes(b"no weights")
    result = run(experiment, "-o", tmp_path / "out")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "best_model.pt and best_parameters.json do not fit: " in line
    assert [path.name for path in tmp_path.iterdir()] == ["experiments"]


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    """The test data are a pipe that nobody fills: the command waits, its draft half written."""
    data, target = tmp_path / "data", tmp_path / "models"
    for folder in (data, target):
        folder.mkdir()
    os.mkfifo(data / "data.npz")
    model, description = build_case("one number")
    experiment = write_journal(tmp_path / "id", [(0, "a", 0.5, description.parameters)], mode="minimize")
    arguments = {"name": "arrays", "data_dir": str(data), "task": "image_regression"}
    save_model(trial_folder(experiment, "a"), model, replace(description, data=arguments))
    command = [sys.executable, "-m", "nni_dream.cli", "export", str(experiment), "-o", str(target / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: list(target.glob(".out.draft-*/weights.safetensors")), "the draft", deadline_seconds=120)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == "interrupted; nothing was written\n"
    assert list(target.iterdir()) == []
