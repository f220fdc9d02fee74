"""What the run command asks of this package's trial modules, answered by the real modules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nni.experiment import ExperimentConfig

from nni_dream.own_trials import OwnTrialError, own_module, restrict_space, score_on_test, set_data_folder

CONFIGS = Path(__file__).parents[1] / "experiment_configs"


@pytest.fixture
def cifar10():
    return ExperimentConfig.load(CONFIGS / "cifar10.yml")


def block(space, name):
    return next(option for option in space["block_type"]["_value"] if option["_name"] == name)


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("python3 -m nni_dream.automl.trial --data trec", "nni_dream.automl.trial"),
        ("python3 -m nni_dream.automl.digits", "nni_dream.automl.digits"),
        ("python3 trial.py", None),
        ("", None),
    ],
)
def test_trials_of_ours_are_known_by_their_module(command, module):
    assert own_module(command) == module


def test_actions_that_need_absent_weights_leave_the_space_and_are_named(cifar10):
    before = json.loads((CONFIGS / "spaces/image_expanded.json").read_text())
    notes = restrict_space(cifar10)
    assert any("resnet" in note and "pretrained = true" in note for note in notes)
    assert len(block(before, "resnet")["pretrained"]["_value"]) == 2
    assert [value["_name"] for value in block(cifar10.search_space, "resnet")["pretrained"]["_value"]] == ["false"]
    assert block(cifar10.search_space, "vanilla") == block(before, "vanilla")
    assert cifar10.canonical_copy().search_space == cifar10.search_space  # it is what NNI will be given


def test_wrong_options_of_the_trial_are_said_before_anything_starts(cifar10):
    cifar10.trial_command += " --scale huge"
    with pytest.raises(OwnTrialError, match="invalid choice: 'huge'"):
        restrict_space(cifar10)


def test_spaces_of_other_trials_are_left_alone():
    digits = ExperimentConfig.load(CONFIGS / "digits.yml")
    assert restrict_space(digits) == []
    assert digits.search_space is None


def test_the_data_folder_goes_into_the_command(cifar10, tmp_path):
    folder = tmp_path / "my data"
    set_data_folder(cifar10, folder)
    assert cifar10.trial_command.endswith(f"--data-dir '{folder}'")


def test_other_trials_have_no_data_folder(tmp_path):
    digits = ExperimentConfig.load(CONFIGS / "digits.yml")
    with pytest.raises(OwnTrialError, match=r"--data-dir is for trials of nni_dream\.automl\.trial; the command is"):
        set_data_folder(digits, tmp_path)


def test_a_trial_of_others_has_no_test_score(tmp_path):
    assert score_on_test("python3 trial.py", tmp_path) is None


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(OwnTrialError, match=str(tmp_path)):
        score_on_test("python3 -m nni_dream.automl.digits", tmp_path)
