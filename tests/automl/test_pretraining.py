"""Weights for the networks below full scale: made from data, found by a search, and fine-tuned."""

import itertools

import pytest
import torch
from automl.trial_process import inside_nni, run_trial
from safetensors import safe_open
from space_walk import places, read_space
from typer.testing import CliRunner

from nni_dream.automl.available_space import available_space
from nni_dream.automl.data import DataError
from nni_dream.automl.kept_model import load_model, save_model
from nni_dream.automl.phases import plan_phases
from nni_dream.automl.pretraining import VERSIONS, block_of, pretrain
from nni_dream.automl.task import LoadedTask, load_data
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.trial import parse_options, training_options
from nni_dream.automl.weights import WeightsError, WeightsSource
from nni_dream.cli import app
from nni_dream.feedback import best_score
from nni_dream.reporting import InMemoryReporter

DIGITS = ["--data", "digits", "--n-train", "100"]


def options_of(*words):
    return training_options(parse_options([*DIGITS, "--epochs", "2", *map(str, words)]))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with weights of every version, and what was said of each."""
    folder = tmp_path_factory.mktemp("weights")
    return folder, list(pretrain(options_of("--epochs", 1), folder))


def test_every_version_of_the_space_gets_weights(weights):
    folder, made = weights
    space = read_space("image_expanded")
    in_space = {version for place in places(space) if place.name == "version" for version in place.values}
    assert [each.version for each in made] == list(VERSIONS)
    assert set(VERSIONS) == in_space | {"xception"}
    assert available_space(space, WeightsSource("tiny", folder)) == (space, [])


@pytest.mark.parametrize("version", ["resnet50", "b3", "xception"])
def test_the_weights_are_those_of_the_best_epoch(version, tmp_path):
    """They are what a trial with the same options keeps."""
    options = options_of("--epochs", 4)
    (made,) = pretrain(options, tmp_path, [version])

    settings = read_settings(options.task, {"block_type": block_of(version)})
    scores = []
    feedback = LoadedTask(options).train(
        settings,
        parameters={},
        reporter=InMemoryReporter(),
        on_best=lambda model, description: scores.append(save_model(tmp_path / "trial", model, description)),
    )
    model, _ = load_model(tmp_path / "trial")
    with safe_open(made.path, "pt") as file:
        saved = {name: file.get_tensor(name) for name in file.keys()}
        told = file.metadata()
    expected = model.backbone.state_dict()
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in expected.items())
    assert made.score == best_score(feedback.epochs, "maximize")
    assert told == {"data": "digits", "val_score": str(made.score), "n_epochs": "4", "seed": "0"}


def test_it_goes_on_where_it_was_stopped(tmp_path):
    first = next(iter(pretrain(options_of("--epochs", 1), tmp_path, ["b0", "b1"])))  # stopped after the first
    written = first.path.read_bytes()
    again = list(pretrain(options_of("--epochs", 1), tmp_path, ["b0", "b1"]))
    assert [(each.version, each.n_epochs) for each in again] == [("b0", 0), ("b1", 1)]
    assert first.path.read_bytes() == written


@pytest.mark.parametrize(
    ("words", "versions", "error", "message"),
    [
        ((), ["b9"], WeightsError, r"version 'b9' is unknown; known are resnet50, .*, xception"),
        (("--scale", "full"), ["b0"], WeightsError, r"scale is 'full', whose weights timm publishes: --download"),
        (("--task", "text_classification"), ["b0"], WeightsError, r"task is 'text_classification', but weights are"),
        (("--data", "cifar10", "--data-dir", "/nowhere"), ["b0"], DataError, r"cifar10.*/nowhere"),
    ],
)
def test_what_cannot_be_made(words, versions, error, message, tmp_path):
    with pytest.raises(error, match=message):
        list(pretrain(options_of(*words), tmp_path, versions))
    assert list(tmp_path.iterdir()) == []


TRAINABLE = {"_name": "true", "trainable": {"_name": "true", "two_step": {"_name": "false"}}}


def two_step(**steps):
    return {"_name": "true", "trainable": {"_name": "true", "two_step": {"_name": "true", **steps}}}


FINE_TUNINGS = {
    "fixed": {"_name": "true", "trainable": {"_name": "false"}},
    "trainable": TRAINABLE,
    **{
        f"two steps, {freeze}": two_step(freeze=freeze, lr_ratio=1.0, epoch_ratio=0.5) for freeze in ("all", "no", "bn")
    },
    "three steps": two_step(three_step=True),
}


def fine_tune(folder, block, pretrained, output):
    options = options_of("--weights-dir", folder, "--epochs", 3)
    settings = read_settings(options.task, {"block_type": {**block, "pretrained": pretrained}})
    feedback = LoadedTask(options).train(
        settings,
        parameters=settings.to_nested(),
        reporter=InMemoryReporter(),
        on_best=lambda model, description: save_model(output, model, description),
    )
    return settings, feedback


@pytest.mark.parametrize("version", ["resnet101_v2", "b1", "xception"])
def test_every_fine_tuning_action_trains_from_the_weights(version, weights, tmp_path):
    folder, _ = weights
    kept, losses = {}, {}
    for name, pretrained in {"none": {"_name": "false"}, **FINE_TUNINGS}.items():
        settings, feedback = fine_tune(folder, block_of(version), pretrained, tmp_path / name)
        assert len(feedback.epochs) == sum(phase.n_epochs for phase in plan_phases(settings, 3)) == 3
        model, _ = load_model(tmp_path / name)  # which needs no pretrained weights
        kept[name] = model.state_dict()
        losses[name] = [(epoch.train_loss, epoch.val_loss) for epoch in feedback.epochs]
    for one, other in itertools.combinations(losses, 2):
        assert losses[one] != losses[other], (one, other)
    source = WeightsSource("tiny", folder)
    with safe_open(source.backbone(version), "pt") as file:
        assert all(torch.equal(file.get_tensor(name), kept["fixed"][f"backbone.{name}"]) for name in file.keys())


def test_a_trial_under_nni_fine_tunes(weights, tmp_path):
    folder, _ = weights
    parameters = {"block_type": {**block_of("resnet50"), "pretrained": two_step(freeze="bn", epoch_ratio=0.5)}}
    environment = inside_nni(tmp_path, parameters)
    words = [*DIGITS, "--epochs", 2, "--weights-dir", folder]
    trial = run_trial("nni_dream.automl.trial", *words, timeout_seconds=120, environment=environment)
    assert trial.returncode == 0, trial.stderr
    _, description = load_model(tmp_path / "output")
    assert description.parameters["block_type"]["pretrained"]["trainable"]["two_step"]["freeze"] == "bn"


def test_the_command(tmp_path):
    words = ["pretrain", "digits", "-o", str(tmp_path / "weights"), "--epochs", "1", "--n-train", "100"]
    done = CliRunner().invoke(app, [*words, "--version", "resnet50", "--version", "xception"])
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()] == ["resnet50", "xception", "for"]
    assert "validation score 0." in done.output
    names = sorted(path.name for path in (tmp_path / "weights").iterdir())
    assert names == ["tiny-resnet50.safetensors", "tiny-xception.safetensors"]
    again = CliRunner().invoke(app, [*words, "--version", "xception"])
    assert again.output.startswith("xception       there already: ")


def test_the_command_splits_the_data_as_the_search_does(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("nni_dream.automl.pretraining.pretrain", lambda options, *_: seen.append(options) or [])
    done = CliRunner().invoke(app, ["pretrain", "digits", "-o", str(tmp_path), "--split-seed", "3", "--seed", "1"])
    assert done.exit_code == 0, done.output
    (options,) = seen
    assert (options.data["seed"], options.seed) == (3, 1)


def test_with_the_same_split_seed_the_validation_images_stay_unseen():
    """Whatever `n_train` the two have."""
    images = {
        n_train: [
            {image.numpy().tobytes() for image in dataset.images}
            for dataset in load_data({**options_of("--split-seed", 3).data, "n_train": n_train})[:2]
        ]
        for n_train in (100, 700, None)
    }
    for trained, searched in itertools.product(images, images):
        assert not images[trained][0] & images[searched][1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--version", "b9"], "error: version 'b9' is unknown"),
        (["trec"], "error: trec: task is 'image_classification'"),
        (["folder", "--data-dir", "/nowhere"], "error: folder: found nothing at /nowhere"),
        (["digits", "--data-option", "labels"], "error: --data-option is 'labels', expected NAME=VALUE"),
        (["digits", "--data-option", "=coarse"], "error: --data-option is '=coarse', expected NAME=VALUE"),
        (
            ["digits", "--data-option", "task=x"],
            "error: --data-option is 'task=x', but 'task' is no option of a data set: leave it out",
        ),
        (
            ["digits", "--data-option", "seed=1"],
            "error: --data-option is 'seed=1', but 'seed' is no option of a data set: use --split-seed",
        ),
        (["digits", "--data-option", "labels=coarse"], "error: digits: "),
        (["digits", "--data-dir", "-x", "--version", "b9"], "error: version 'b9' is unknown"),
        (["--", "-digits"], "error: "),
    ],
)
def test_a_wrong_command_is_one_line(words, message, tmp_path):
    done = CliRunner().invoke(app, ["pretrain", "-o", str(tmp_path), *words])
    assert done.exit_code == 1
    assert done.output.startswith(message)
    assert done.output.count("\n") == 1
