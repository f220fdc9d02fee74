"""What the README says of one's own images, with the real commands: weights, a search that fine-tunes, a model."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from automl.data.published_files import CLASSES, image_files, write_files
from e2e.experiment import BIN, REPOSITORY, own_environment, processes_of

from nni_dream.automl import load
from nni_dream.experiment_folders import find_experiment
from nni_dream.experiment_paths import journal_path
from nni_dream.journal import read_journal

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CONFIGS = REPOSITORY / "experiment_configs"
TWO_STEPS = {"_name": "true", "trainable": {"_name": "true", "two_step": {"_name": "true", "freeze": "bn"}}}


def own_config(folder, *options, initial, **changes):
    """The experiment for own images with fewer epochs and trials, as a user would change it."""
    config = yaml.safe_load((CONFIGS / "own_images.yml").read_text())
    config |= {"searchSpaceFile": str(CONFIGS / "spaces/image_expanded.json"), "trialConcurrency": 1, **changes}
    config["trialCommand"] = " ".join([config["trialCommand"], "--epochs 2", *options])
    config["tuner"]["classArgs"]["initial_parameters"] = initial
    config["experimentWorkingDirectory"] = str(folder / "experiments")
    path = folder / "own.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def nni_dream(folder, *words):
    return subprocess.run(
        [BIN / "nni-dream", *words],
        cwd=folder,
        env=own_environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_weights_a_search_that_fine_tunes_and_a_model(tmp_path):
    write_files(tmp_path / "my_images", image_files({"": 20}, size=(20, 24)))
    made = nni_dream(tmp_path, "pretrain", "digits", "-o", "my_weights", "--epochs", "1", "--version", "resnet50")
    assert made.returncode == 0, made.stderr

    block = {"_name": "resnet", "version": "resnet50", "pretrained": TWO_STEPS}
    config = own_config(tmp_path, initial=[{"block_type": block}], maxTrialNumber=2)
    done = nni_dream(tmp_path, "run", config, "--data-dir", "my_images", "--weights-dir", "my_weights")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resnet: no weights for resnet101," in done.stdout
    experiment = find_experiment(str(tmp_path / "experiments" / "_latest"))
    events = read_journal(journal_path(experiment.path))
    ends = {event["trial"]: event for event in events if event["event"] == "result"}
    assert {number: end["status"] for number, end in ends.items()} == {0: "succeeded", 1: "succeeded"}
    assert ends[0]["parameters"]["block_type"]["pretrained"]["trainable"]["two_step"]["freeze"] == "bn"

    exported = nni_dream(tmp_path, "export", experiment.path, "-o", "my_model", "--trial", "0")
    assert exported.returncode == 0, exported.stderr
    (answer,) = load(tmp_path / "my_model").predict([tmp_path / "my_images" / CLASSES[0] / "0000.png"])
    assert answer.label in CLASSES
    assert processes_of(tmp_path) == []


def test_images_of_several_sizes_are_told_before_a_trial_starts(tmp_path):
    write_files(tmp_path / "my_images", image_files({"": 9}))
    write_files(tmp_path / "my_images", image_files({"": 1}, size=(7, 7)))
    config = own_config(tmp_path, initial=[{"block_type": "vanilla"}])
    config.write_text(config.read_text().replace("--image-size 64", ""))
    done = nni_dream(tmp_path, "run", config, "--data-dir", "my_images")
    assert done.returncode == 1
    assert "images differ in size, give an image_size (--image-size in a trial's command)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "experiments").exists()


def test_a_configuration_that_cannot_be_trained_is_a_failed_trial_and_the_search_goes_on(tmp_path):
    write_files(tmp_path / "my_images", image_files({"": 20}))
    small = {"_name": "vanilla", "num_blocks": 1, "num_layers": 1, "filters_0_0": 16}
    initial = [{"block_type": {"_name": "xception", "imagenet_size": False}}, {"block_type": small}]
    config = own_config(tmp_path, "--scale full", "--image-size 4", initial=initial, maxTrialNumber=2)
    done = nni_dream(tmp_path, "run", config, "--data-dir", "my_images")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed: error: block_type = xception cannot take images of 4 x 4 pixels: " in done.stdout
    summary = find_experiment(str(tmp_path / "experiments" / "_latest")).summary
    assert [row.status for row in summary.rows] == ["failed", "succeeded"]
    assert processes_of(tmp_path) == []
