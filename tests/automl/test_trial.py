"""The trial of real tasks as NNI starts it: a process with options, parameters from NNI, a kept model, a test score."""

import inspect
import json
import os
import signal
from functools import partial

import pytest
import torch
from automl import trial_process
from automl.data.published_files import image_files, write_files
from automl.exported_models import build_case
from automl.trial_process import inside_nni

from nni_dream.automl.data import load_dataset
from nni_dream.automl.evaluation import evaluate
from nni_dream.automl.kept_model import KeptModelError, load_model, save_model
from nni_dream.automl.samples import samples_of
from nni_dream.automl.task import load_data
from nni_dream.automl.trial import main

start_trial = partial(trial_process.start_trial, "nni_dream.automl.trial")
run_trial = partial(trial_process.run_trial, "nni_dream.automl.trial", timeout_seconds=120)
DIGITS = ["--data", "digits"]
TREC = ["--data", "trec", "--task", "text_classification"]
TINY_RESNET = {
    "block_type": {"_name": "resnet", "version": "resnet50", "pretrained": {"_name": "false"}, "imagenet_size": False},
    "learning_rate": 0.01,
}


def write_questions(folder):
    """TREC's published format; the answer is in the words."""
    for name, n_lines in [("train_5500.label", 200), ("TREC_10.label", 40)]:
        lines = [
            f"NUM:count How many w{i % 7} are there ?" if i % 2 else f"HUM:ind Who is w{i % 7} ?"
            for i in range(n_lines)
        ]
        (folder / name).write_text("\n".join(lines) + "\n")


def test_an_image_trial_under_nni(tmp_path):
    environment = inside_nni(tmp_path, TINY_RESNET)
    trial = run_trial(*DIGITS, "--epochs", 2, "--n-train", 300, environment=environment)
    assert trial.returncode == 0, trial.stderr
    output = tmp_path / "output"
    assert {"best_model.pt", "best_parameters.json"} <= set(os.listdir(output))
    metrics = (tmp_path / ".nni" / "metrics").read_bytes()
    assert (metrics.count(b"PERIODICAL"), metrics.count(b"FINAL")) == (2, 1)

    evaluation = run_trial("--evaluate", output)
    score = json.loads(evaluation.stdout)
    assert evaluation.returncode == 0
    assert set(score) == {"test_score", "n_test"}

    # The kept model, built anew, gives the same score, whatever the random numbers of this process are.
    model, description = load_model(output)
    assert description.parameters["block_type"] == TINY_RESNET["block_type"]
    test = samples_of(load_data(description.data).test, description)
    assert (evaluate(model, test).accuracy, len(test)) == (pytest.approx(score["test_score"]), score["n_test"])


def test_a_text_trial_by_hand(tmp_path, capsys):
    write_questions(tmp_path)
    output = str(tmp_path / "output")
    assert main([*TREC, "--data-dir", str(tmp_path), "--epochs", "3", "--output", output]) == 0
    capsys.readouterr()
    assert main(["--evaluate", output]) == 0
    assert json.loads(capsys.readouterr().out) == {"test_score": pytest.approx(0.75, abs=0.26), "n_test": 40}


def test_a_kept_model_is_scored_on_data_that_have_moved(tmp_path, capsys):
    (tmp_path / "old").mkdir()
    write_questions(tmp_path / "old")
    output = str(tmp_path / "output")
    assert main([*TREC, "--data-dir", str(tmp_path / "old"), "--epochs", "1", "--output", output]) == 0
    (tmp_path / "old").rename(tmp_path / "new")
    assert main(["--evaluate", output]) == 1
    capsys.readouterr()
    assert main(["--evaluate", output, "--data-dir", str(tmp_path / "new")]) == 0
    assert json.loads(capsys.readouterr().out)["n_test"] == 40


def test_a_published_test_part_counts_although_the_training_part_has_grown(tmp_path, capsys):
    write_questions(tmp_path)
    output = str(tmp_path / "output")
    assert main([*TREC, "--data-dir", str(tmp_path), "--epochs", "1", "--output", output]) == 0
    with (tmp_path / "train_5500.label").open("a") as file:
        file.write("HUM:ind Who else ?\n")
    capsys.readouterr()
    assert main(["--evaluate", output]) == 0
    assert json.loads(capsys.readouterr().out)["n_test"] == 40


def test_a_test_split_that_is_drawn_from_other_rows_now_is_refused(tmp_path, capsys):
    """Half of its rows would be those that the model was trained on."""
    table = tmp_path / "table.csv"
    table.write_text("text,label\n" + "".join(f"word{i % 7} w{i},{i % 2}\n" for i in range(100)))
    output = str(tmp_path / "output")
    options = ["--data", "table", "--data-dir", str(table), "--task", "text_classification"]
    assert main([*options, "--epochs", "1", "--output", output]) == 0
    capsys.readouterr()
    assert main(["--evaluate", output]) == 0
    with table.open("a") as file:
        file.write("".join(f"more w{i},{i % 2}\n" for i in range(100, 110)))
    capsys.readouterr()
    assert main(["--evaluate", output]) == 1
    assert capsys.readouterr().err == (
        "error: table: has changed since the training, and the test split is drawn from all of it: "
        "rows that the model has seen would be among the test rows\n"
    )


def test_the_same_seed_keeps_the_same_model(tmp_path):
    parameters = {"augment": "true", "dropout": 0.5, "block_type": "xception"}
    trials = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        environment = inside_nni(tmp_path / name, parameters)
        trials.append(start_trial(*DIGITS, "--epochs", 1, "--n-train", 200, environment=environment))
    for trial in trials:
        assert trial.wait(timeout=120) == 0
    one, other = (
        torch.load(tmp_path / name / "output" / "best_model.pt", weights_only=True) for name in ("one", "other")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("parameters", "options", "message"),
    [
        ({"optimizer": "sdg"}, DIGITS, "error: parameter 'optimizer' is {'_name': 'sdg'}: expected 'adam'"),
        (
            {"block_type": {"_name": "resnet", "pretrained": "true"}},
            DIGITS,
            "error: pretrained = true needs the weights tiny-resnet50: no --weights-dir was given",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path, parameters, options, message):
    trial = run_trial(*options, environment=inside_nni(tmp_path, parameters))
    assert trial.returncode == 1
    assert trial.stderr.startswith(message)
    assert trial.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*TREC, "--data-dir", "/nowhere"], "/nowhere"),
        (["--data", "digits", "--task", "text_classification"], "digits"),
        ([*TREC, "--data-option", "labels=medium"], "medium"),
    ],
)
def test_data_that_cannot_be_had_is_one_line(options, message, capsys):
    assert main(options) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_texts_without_words_are_one_line(tmp_path, capsys):
    for name in ("train_5500.label", "TREC_10.label"):
        (tmp_path / name).write_text("".join(f"{label} ?\n" for label in ["HUM:ind", "NUM:count"] * 20))
    assert main([*TREC, "--data-dir", str(tmp_path)]) == 1
    assert "training texts has a word, expected one at least\n" in capsys.readouterr().err


def check_data(folder, *options):
    (folder / "space.json").write_text("{}")
    return main([*options, "--available-space", str(folder / "space.json"), "--check-data"])


def test_a_broken_test_image_is_told_before_the_search(tmp_path, capsys):
    files = image_files({"train/": 4, "test/": 2})
    write_files(tmp_path / "data", files)
    options = ["--data", "folder", "--data-dir", str(tmp_path / "data")]
    assert check_data(tmp_path, *options) == 0
    write_files(tmp_path / "data", {"test/cat/0000.png": b"x"})
    capsys.readouterr()
    assert check_data(tmp_path, *options) == 1
    error = capsys.readouterr().err
    assert "test/cat/0000.png: is no image that can be read" in error
    assert error.count("\n") == 1


def test_files_that_are_left_out_are_told_before_the_search(tmp_path, capsys):
    write_files(tmp_path / "data", image_files({"": 9}) | {"cat/1.heic": ""})
    assert check_data(tmp_path, "--data", "folder", "--data-dir", str(tmp_path / "data")) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert note.endswith("left out, being no images by their suffix: 1 (.heic 1)")


def test_texts_without_words_are_told_before_the_search(tmp_path, capsys):
    write_files(tmp_path, {"t.csv": "text,label\n" + "!,a\n?,b\n" * 20})
    options = ["--data", "table", "--task", "text_classification", "--data-dir", str(tmp_path / "t.csv")]
    assert check_data(tmp_path, *options) == 1
    assert "training texts has a word, expected one at least\n" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--data", "digits", "--epochs", "0"], ["--data", "x", "--data-option", "y"]])
def test_wrong_options_are_refused(options, capsys):
    with pytest.raises(SystemExit):
        main(options)
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(set(inspect.signature(load_dataset).parameters) - {"options"}))
def test_what_has_an_option_of_its_own_is_no_option_of_the_data(name, capsys):
    with pytest.raises(SystemExit):
        main([*DIGITS, "--data-option", f"{name}=1"])
    (error,) = capsys.readouterr().err.splitlines()[-1:]
    own = {"name": "--data", "seed": "--split-seed", "storage": None}.get(name, f"--{name.replace('_', '-')}")
    told = f"{name!r} is no option of a data set" + (f"; use {own}" if own else "")
    assert error.endswith(f"error: argument --data-option: {told}")


def test_a_folder_without_a_model_is_one_line(tmp_path, capsys):
    assert main(["--evaluate", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}: no model of a trial: ")
    assert error.count("\n") == 1


def test_a_model_of_the_digits_trial_is_refused(tmp_path, capsys):
    save_model(tmp_path, *build_case("digits"))
    assert main(["--evaluate", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: holds a model of the digits trial; score it with "
        f"python3 -m nni_dream.automl.digits --evaluate {tmp_path}\n"
    )


@pytest.mark.parametrize("description", ["{}", "no JSON", '{"task": 1}'])
def test_a_broken_description_is_named(tmp_path, description):
    (tmp_path / "best_parameters.json").write_text(description)
    with pytest.raises(KeptModelError, match=r"best_model\.pt and best_parameters\.json do not fit: "):
        load_model(tmp_path)


def test_an_interrupt_ends_the_trial_at_once(tmp_path):
    trial = start_trial(*DIGITS, "--patience", 100000, "--epochs", 100000, "--output", tmp_path)
    assert any("intermediate result" in line for line in trial.stderr)  # the first epoch is over
    trial.send_signal(signal.SIGINT)
    try:
        _, errors = trial.communicate(timeout=5)  # what NNI grants
    finally:
        trial.kill()
    assert trial.returncode == -signal.SIGINT  # with an exit code it had failed, to NNI
    assert "Traceback" not in errors
