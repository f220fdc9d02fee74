"""The experiments of real tasks: NNI takes the file, the trial takes its options and its first configuration."""

import shlex

import pytest
import yaml
from space_walk import SPACES, read_space

from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.trial import _parse_options
from nni_dream.experiments import load_config

EXPERIMENTS = {"cifar10": "image_classification", "trec": "text_classification", "mr": "text_classification"}


@pytest.mark.parametrize(("name", "task"), EXPERIMENTS.items())
def test_the_experiment_fits_the_trial(name, task):
    path = SPACES.parent / f"{name}.yml"
    config = load_config(path)
    command = shlex.split(config.trial_command)
    assert command[:3] == ["python3", "-m", "nni_dream.automl.trial"]
    options = _parse_options(command[3:])
    assert (options.data, options.task, options.scale, options.epochs) == (name, task, "tiny", 16)

    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    space = read_space(written["searchSpaceFile"].removeprefix("spaces/").removesuffix(".json"))
    for parameters in written["tuner"]["classArgs"]["initial_parameters"]:
        assert set(parameters) <= set(space)
        read_settings(task, parameters)
