"""An experiment's YAML before anything is started: taken as NNI takes it, or refused with one clear sentence."""

from __future__ import annotations

import pytest
import yaml

from nni_dream.experiment_files import ExperimentError, load_config, tuner_class

EXPERIMENT = {
    "searchSpace": {"lr": {"_type": "choice", "_value": [0.1, 0.01]}},
    "trialCommand": "python3 trial.py",
    "trialConcurrency": 1,
    "tuner": {"name": "Dream"},
    "trainingService": {"platform": "local"},
}
A_NAME_OR_A_CLASS = r"needs a name, or a className and a codeDirectory \(such as \.\), but not both"


@pytest.fixture
def file(tmp_path):
    """Writes the experiment with some fields changed; ``None`` takes a field away."""

    def write(**changed):
        fields = {name: value for name, value in {**EXPERIMENT, **changed}.items() if value is not None}
        path = tmp_path / "experiment.yml"
        path.write_text(yaml.safe_dump(fields), encoding="utf-8")
        return path

    return write


def test_a_tuner_by_name(file):
    assert tuner_class(load_config(file())) == "Dream"


def test_a_tuner_by_class(file):
    tuner = {"className": "nni_dream.tuner.DreamTuner", "codeDirectory": "."}
    assert tuner_class(load_config(file(tuner=tuner))) == "nni_dream.tuner.DreamTuner"


def test_a_folded_command_ends_without_a_new_line(file):
    assert load_config(file(trialCommand="python3 trial.py\n")).trial_command == "python3 trial.py"


def test_the_working_directory_may_be_another(file, tmp_path):
    assert load_config(file(), tmp_path / "here").experiment_working_directory == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tuner": {"className": "nni_dream.tuner.DreamTuner"}}, f"tuner {A_NAME_OR_A_CLASS}"),
        ({"tuner": {"className": "a.B", "name": "Dream", "codeDirectory": "."}}, f"tuner {A_NAME_OR_A_CLASS}"),
        ({"tuner": {"name": "Dream", "codeDirectory": "."}}, f"tuner {A_NAME_OR_A_CLASS}"),
        ({"tuner": {"classArgs": {"seed": 1}}}, f"tuner {A_NAME_OR_A_CLASS}"),
        ({"tuner": "Dream"}, f"tuner {A_NAME_OR_A_CLASS}"),
        ({"assessor": {"className": "nni_dream.assessor.DreamAssessor"}}, f"assessor {A_NAME_OR_A_CLASS}"),
        ({"tuner": {"name": "Dream", "classArg": {}}}, "does not have field\\(s\\) classarg"),
        ({"tuner": None}, "tuner must be set"),
        ({"trainingService": None}, "trainingService needs a platform: local, remote, "),
        ({"trainingService": "local"}, "trainingService needs a platform: local, remote, "),
        ({"trainingService": {"platform": "cloud"}}, "trainingService needs a platform: local, remote, "),
        ({"trainingService": [{"platform": "local"}, {"platform": "cloud"}]}, "trainingService needs a platform: "),
        (
            {"trainingService": [{"platform": "local"}, {"platform": "local"}]},
            "several training services need nniManagerIp",
        ),
        ({"trialConcurrency": 0}, "NNI expects trial_concurrency > 0"),
        ({"maxTrialNumber": 0}, "NNI expects max_trial_number is None or max_trial_number > 0"),
        ({"trialConcurrency": None}, "trial_concurrency is not set"),
        ({"maxTrials": 3}, "does not have field\\(s\\) maxtrials"),
        ({"searchSpace": None}, "search_space and search_space_file must be set one"),
        ({"useAnnotation": True, "searchSpace": None}, "useAnnotation is true, but NNI 3.0 has no annotations"),
        ({"useAnnotation": True}, "useAnnotation is true, but NNI 3.0 has no annotations"),
    ],
)
def test_what_cannot_run_is_refused(file, changed, words):
    with pytest.raises(ExperimentError, match=rf"experiment\.yml: .*{words}"):
        load_config(file(**changed))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a dict/object"),
        ("trialCommand: [", "expected the node content, but found '<stream end>' in"),
    ],
)
def test_what_is_no_experiment_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "experiment.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ExperimentError, match=words) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ExperimentError, match=r"gone\.yml: .*No such file"):
        load_config(tmp_path / "gone.yml")


def test_a_file_that_was_refused_is_no_reason_to_refuse_the_next(file):
    with pytest.raises(ExperimentError, match="maxtrials"):
        load_config(file(maxTrials=3))
    assert load_config(file()).trial_concurrency == 1
