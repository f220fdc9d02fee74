"""The experiments of real tasks: NNI, tuner and trial take each file, and a trial of each runs on generated data.

The data have the published formats.  The trial is started with the experiment's own command; only its epochs and its
samples are fewer.
"""

import json
import math
import re
import shlex
from typing import NamedTuple

import nni
import pytest
import yaml
from automl.data.published_files import WRITERS
from nni.runtime import env_vars, trial_command_channel
from nni.runtime.trial_command_channel import TrialCommandChannel, set_default_trial_command_channel
from space_walk import SPACES, read_space

from nni_dream.assessor import DreamAssessor
from nni_dream.automl.kept_model import load_model
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.trial import main, parse_options
from nni_dream.experiment_files import load_config
from nni_dream.feedback import parse_metric
from nni_dream.tuner import DreamTuner

CONFIGS = SPACES.parent
TRIAL = ["python3", "-m", "nni_dream.automl.trial"]
IMAGES, TEXTS, NUMBERS = "image_classification", "text_classification", "image_regression"


class Expected(NamedTuple):
    task: str
    scale: str
    data: str  # the folder's name under data/
    n_test: int  # of the generated files
    n_outputs: int
    image_shape: list | None = None  # channels, height, width; None: texts
    dataset: str | None = None  # its name; None: that of the experiment


EXPERIMENTS = {
    "cifar10": Expected(IMAGES, "tiny", "cifar10", 12, 3, [3, 32, 32]),
    "cifar100": Expected(IMAGES, "full", "cifar100", 12, 3, [3, 32, 32]),
    "stl10": Expected(IMAGES, "tiny", "stl10", 6, 3, [3, 96, 96]),
    "food101": Expected(IMAGES, "full", "food101", 9, 3, [3, 300, 300]),
    "stanford_cars": Expected(IMAGES, "full", "stanford_cars", 6, 3, [3, 240, 360]),
    "tiny_imagenet": Expected(IMAGES, "full", "tiny_imagenet", 6, 3, [3, 64, 64]),
    "tiny_imagenet_regression": Expected(NUMBERS, "full", "tiny_imagenet", 6, 1, [3, 64, 64]),
    "reuters": Expected(TEXTS, "tiny", "reuters", 6, 2),
    "trec": Expected(TEXTS, "tiny", "trec", 6, 3),
    "imdb": Expected(TEXTS, "tiny", "imdb", 8, 2),
    "mr": Expected(TEXTS, "tiny", "mr", 8, 2),
    "own_images": Expected(IMAGES, "tiny", "own_images", 9, 3, [3, 64, 64], dataset="folder"),
    "own_texts": Expected(TEXTS, "tiny", "own_texts", 4, 3, dataset="table"),
}
EPOCHS = {"tiny": 16, "full": 200}  # at most; DREAM 5.1 has 200
EACH = pytest.mark.parametrize(("name", "expected"), EXPERIMENTS.items(), ids=list(EXPERIMENTS))


class Channel(TrialCommandChannel):
    """Hands out one configuration and keeps what the trial sends."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.metrics = {"PERIODICAL": [], "FINAL": []}

    def receive_parameter(self):
        return {"parameter_id": 0, "parameters": self.parameters}

    def send_metric(self, type, parameter_id, trial_job_id, sequence, value):
        self.metrics[type].append(value)


@pytest.fixture
def inside_nni(tmp_path, monkeypatch):
    """Make this process a trial of NNI that gets the given parameters; return the channel of its metrics."""

    def enter(parameters):
        output = tmp_path / "output"
        environment = env_vars.trial_env_vars._replace(
            NNI_PLATFORM="local", NNI_TRIAL_JOB_ID="abcde", NNI_OUTPUT_DIR=str(output)
        )
        monkeypatch.setattr(env_vars, "trial_env_vars", environment)
        monkeypatch.setattr("nni.trial.trial_env_vars", environment)
        monkeypatch.setattr("nni.trial._params", None)
        monkeypatch.setattr("nni.trial._intermediate_seq", 0)
        monkeypatch.setattr(trial_command_channel, "_channel", None)
        monkeypatch.setenv("NNI_OUTPUT_DIR", str(output))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        channel = Channel(parameters)
        set_default_trial_command_channel(channel)
        return channel

    return enter


def read_yaml(name):
    return yaml.safe_load((CONFIGS / f"{name}.yml").read_text(encoding="utf-8"))


def options_of(name):
    """The words after the module in the experiment's trial command."""
    command = shlex.split(load_config(CONFIGS / f"{name}.yml").trial_command)
    assert command[:3] == TRIAL
    return command[3:]


def test_every_search_with_this_trial_is_in_the_table():
    configs = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in CONFIGS.glob("*.yml")}
    searches = {
        name
        for name, config in configs.items()
        if config.get("trialCommand", "").startswith(" ".join(TRIAL)) and config["tuner"].get("name") == "Dream"
    }
    assert searches == set(EXPERIMENTS)


@EACH
def test_the_experiment_fits_the_trial(name, expected):
    options = parse_options(options_of(name))
    assert (options.data, options.task, options.scale) == (expected.dataset or name, expected.task, expected.scale)
    assert (options.epochs, options.patience) == (EPOCHS[expected.scale], 10)
    assert options.data_dir.as_posix() == f"../data/{expected.data}"


@EACH
def test_the_way_to_the_other_scale_in_the_comment(name, expected):
    written = (CONFIGS / f"{name}.yml").read_text(encoding="utf-8")
    comment = " ".join(line.lstrip("# ") for line in written.splitlines() if line.startswith("#"))
    ((replacement, replaced),) = re.findall(r"`([^`]*)` instead of `([^`]*)`", comment)
    command = read_yaml(name)["trialCommand"]
    assert replaced in command
    options = parse_options(shlex.split(command.replace(replaced, replacement))[3:])
    other = "full" if expected.scale == "tiny" else "tiny"
    assert (options.scale, options.epochs) == (other, EPOCHS[other])


@EACH
def test_the_experiment_fits_tuner_and_assessor(name, expected, log_folder):
    config = load_config(CONFIGS / f"{name}.yml")
    tuner = DreamTuner(**config.tuner.class_args)
    DreamAssessor(**config.assessor.class_args)  # refuses another mode than the tuner's
    assert tuner.settings.optimize_mode == ("minimize" if expected.task == NUMBERS else "maximize")
    tuner.update_search_space(read_space("text_expanded" if expected.task == TEXTS else "image_expanded"))
    first, second = tuner.generate_multiple_parameters([0, 1])
    (initial,) = config.tuner.class_args["initial_parameters"]
    assert initial["block_type"].items() <= first["block_type"].items()
    for parameters in (first, second):
        read_settings(expected.task, parameters)


@EACH
def test_a_trial_of_the_experiment(name, expected, inside_nni, tmp_path, monkeypatch, capsys):
    WRITERS[expected.dataset or name](tmp_path / "data" / expected.data)
    folder = tmp_path / "experiment_configs"  # the data are expected beside it
    folder.mkdir()
    monkeypatch.chdir(folder)
    (parameters,) = read_yaml(name)["tuner"]["classArgs"]["initial_parameters"]
    channel = inside_nni(parameters)
    assert main([*options_of(name), "--epochs", "1", "--n-train", "12"]) == 0, capsys.readouterr().err
    assert nni.get_current_parameter() == parameters

    (intermediate,), (final,) = channel.metrics["PERIODICAL"], channel.metrics["FINAL"]
    assert intermediate["default"] == final["default"]
    assert math.isfinite(final["default"])
    feedback = parse_metric(final)
    assert (feedback.parameters, feedback.planned_epochs, len(feedback.epochs)) == (parameters, 1, 1)
    (epoch,) = feedback.epochs
    score = epoch.val_loss if expected.task == NUMBERS else epoch.val_score  # rounded to four digits
    assert final["default"] == pytest.approx(score, rel=1e-3)

    _, description = load_model(tmp_path / "output")
    assert (description.task, description.scale) == (expected.task, expected.scale)
    assert (description.image_shape, description.n_outputs) == (expected.image_shape, expected.n_outputs)

    capsys.readouterr()
    assert main(["--evaluate", str(tmp_path / "output")]) == 0
    score = json.loads(capsys.readouterr().out)
    assert score["n_test"] == expected.n_test
    assert math.isfinite(score["test_score"])


@pytest.mark.parametrize(("task", "n_outputs"), [(IMAGES, 3), (NUMBERS, 1)])
def test_arrays_of_ones_own_as_the_comment_says(task, n_outputs, inside_nni, tmp_path, capsys):
    WRITERS["arrays"](tmp_path / "data")
    inside_nni({})
    words = ["--data", "arrays", "--task", task, "--data-dir", str(tmp_path / "data"), "--epochs", "1"]
    assert main([*options_of("own_images"), *words]) == 0, capsys.readouterr().err
    _, description = load_model(tmp_path / "output")
    assert (description.task, description.n_outputs, description.image_shape) == (task, n_outputs, [3, 64, 64])
