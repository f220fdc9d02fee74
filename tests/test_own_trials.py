"""What the run command asks of this package's trial modules, answered by the real modules."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from automl.data.published_files import write_cifar10
from kept_experiments import keep_files, write_journal
from nni.experiment import ExperimentConfig
from nni.experiment.config import RemoteConfig, RemoteMachineConfig
from typer.testing import CliRunner

from nni_dream.automl.image_settings import XceptionBlock
from nni_dream.automl.models.backbones import build_backbone
from nni_dream.automl.weights import WeightsSource, save_own_weights
from nni_dream.cli import app
from nni_dream.experiment_files import ExperimentError, load_config
from nni_dream.experiment_folders import ExperimentFolder
from nni_dream.experiment_paths import journal_path, trials_folder
from nni_dream.experiments import RunningExperiment
from nni_dream.exposure import exposure_of
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.manager import LocalTrial
from nni_dream.own_commands import OwnTrialError, own_module
from nni_dream.own_trials import (
    add_data_options,
    remove_models,
    restrict_space,
    score_on_test,
    set_data_folder,
    set_weights_folder,
)
from nni_dream.tuner import DreamTuner

CONFIGS = Path(__file__).parents[1] / "experiment_configs"


@pytest.fixture
def cifar10(tmp_path):
    """The experiment, with a few images in the published format as its data."""
    write_cifar10(tmp_path / "data")
    config = ExperimentConfig.load(CONFIGS / "cifar10.yml")
    config.trial_command = config.trial_command.replace("--n-train 5000", "--n-train 12")
    set_data_folder(config, tmp_path / "data")
    return config


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


def test_a_command_is_read_as_the_shell_reads_it(cifar10, tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", str(tmp_path))
    command = cifar10.trial_command.replace(str(tmp_path), "$HERE")
    assert command != cifar10.trial_command
    cifar10.trial_command = f"{command} 2>&1 | tee log"
    assert restrict_space(cifar10)


def test_the_new_line_after_folded_text_does_not_part_a_command_from_its_options(tmp_path):
    text = (CONFIGS / "cifar10.yml").read_text().replace("trialCommand: ", "trialCommand: >\n  ")
    text = text.replace("spaces/", f"{CONFIGS}/spaces/")
    (tmp_path / "cifar10.yml").write_text(text)
    config = load_config(tmp_path / "cifar10.yml")
    set_data_folder(config, tmp_path)
    assert "\n" not in config.trial_command
    assert config.trial_command.endswith(f" --data-dir {tmp_path}")


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


@pytest.mark.parametrize("name", ["test_batch", "data_batch_2"])
def test_data_that_cannot_be_read_are_said_before_anything_starts(cifar10, tmp_path, name):
    next(tmp_path.glob(f"data/*/{name}")).unlink()
    with pytest.raises(OwnTrialError) as raised:
        restrict_space(cifar10)
    assert name in str(raised.value)
    assert not str(raised.value).startswith("error")
    assert "\n" not in str(raised.value)


def test_data_of_trials_elsewhere_are_not_looked_for_here(cifar10):
    cifar10.trial_command += " --data-dir /elsewhere"
    machine = {"host": "192.0.2.11", "user": "alice", "ssh_key_file": __file__}
    cifar10.training_service = RemoteConfig(machine_list=[RemoteMachineConfig(**machine)])
    cifar10.nni_manager_ip = "192.0.2.1"
    assert restrict_space(cifar10)


def test_weights_that_are_there_stay_in_the_space(cifar10, tmp_path):
    backbone = build_backbone(XceptionBlock(), (3, 16, 16), WeightsSource("tiny"))
    save_own_weights(backbone, tmp_path / "my weights", scale="tiny", version="xception")
    set_weights_folder(cifar10, tmp_path / "my weights")
    notes = restrict_space(cifar10)
    assert [note.partition(":")[0] for note in notes] == ["resnet", "efficient"]
    assert len(block(cifar10.search_space, "xception")["pretrained"]["_value"]) == 2


def test_weights_that_do_not_fit_are_said_before_anything_starts(cifar10, tmp_path):
    (tmp_path / "tiny-b3.safetensors").write_bytes(b"no weights")
    set_weights_folder(cifar10, tmp_path)
    with pytest.raises(OwnTrialError, match=r"^/.*tiny-b3\.safetensors: are not weights of this backbone: [^\n]*$"):
        restrict_space(cifar10)


def test_a_space_of_which_nothing_can_be_had_is_said_before_anything_starts(cifar10):
    only = {"_name": "xception", "pretrained": {"_type": "choice", "_value": ["true"]}}
    cifar10.search_space, cifar10.search_space_file = {"block_type": {"_type": "choice", "_value": [only]}}, None
    with pytest.raises(OwnTrialError, match=r"^parameter 'block_type\.pretrained' of xception can only be true"):
        restrict_space(cifar10)


def test_spaces_of_other_trials_are_left_alone():
    digits = ExperimentConfig.load(CONFIGS / "digits.yml")
    assert restrict_space(digits) == []
    assert digits.search_space is None


def test_the_data_folder_goes_into_the_command(cifar10, tmp_path):
    folder = tmp_path / "my data"
    set_data_folder(cifar10, folder)
    assert cifar10.trial_command.endswith(f"--data-dir '{folder}'")


def test_options_of_the_data_go_into_the_command_beside_its_own(tmp_path):
    config = ExperimentConfig.load(CONFIGS / "own_texts.yml")
    config.trial_command += " --data-option text_column=a --data-option label_column=b"
    (tmp_path / "t.csv").write_text("b,the text\n" + "x,good\ny,bad\n" * 10)
    set_data_folder(config, tmp_path / "t.csv")
    with pytest.raises(OwnTrialError, match="text_column is 'a', but the columns are 'b', 'the text'"):
        restrict_space(config)
    add_data_options(config, ["text_column=the text"])
    restrict_space(config)


def test_what_may_surprise_in_the_data_is_said_before_anything_starts(tmp_path):
    config = ExperimentConfig.load(CONFIGS / "own_texts.yml")
    rows = "text,label\n" + "".join(f"word{i},{('good', 'NaN')[i % 2]}\n" for i in range(20))
    for name in ("train.csv", "validation.csv", "test.csv"):
        (tmp_path / name).write_text(rows)
    set_data_folder(config, tmp_path)
    assert restrict_space(config)[:3] == [
        "20 of the 20 validation texts are training texts too: the validation score says less about new texts",
        "20 of the 20 test texts are training texts too: the test score says less about new texts",
        "'NaN' is a class, of 10 training texts; if it stands for no label, take those rows out",
    ]


def test_an_option_that_the_data_contradict_is_one_line_before_anything_starts(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na,x\n")
    words = ["run", CONFIGS / "own_texts.yml", "--data-dir", tmp_path / "t.csv", "--working-dir", tmp_path / "new"]
    done = CliRunner().invoke(app, [*map(str, words), "--data-option", "text_column=body"])
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert done.output.endswith("t.csv: text_column is 'body', but the columns are 'text', 'label'\n")
    assert not (tmp_path / "new").exists()


def test_other_trials_have_no_options_of_the_data():
    digits = ExperimentConfig.load(CONFIGS / "digits.yml")
    with pytest.raises(OwnTrialError, match=r"--data-option is for trials of nni_dream\.automl\.trial; the command is"):
        add_data_options(digits, ["labels=coarse"])


@pytest.mark.parametrize(("set_folder", "option"), [(set_data_folder, "data"), (set_weights_folder, "weights")])
def test_other_trials_have_no_such_folders(tmp_path, set_folder, option):
    digits = ExperimentConfig.load(CONFIGS / "digits.yml")
    with pytest.raises(
        OwnTrialError, match=rf"--{option}-dir is for trials of nni_dream\.automl\.trial; the command is"
    ):
        set_folder(digits, tmp_path)


def test_a_trial_of_others_has_no_test_score(tmp_path):
    assert score_on_test("python3 trial.py", tmp_path) is None


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(OwnTrialError, match=str(tmp_path)):
        score_on_test("python3 -m nni_dream.automl.digits", tmp_path)


class TestRemoveModels:
    """Scores 0.1, 0.5, 0.9, 0.5, 0.7 of the jobs a to e; f and g have no score."""

    @pytest.fixture
    def jobs(self):
        """What NNI says of each trial job."""
        return dict.fromkeys("abcdefg", "SUCCEEDED")

    @pytest.fixture
    def port(self, jobs):
        """NNI's REST interface, as far as it is asked."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                job = self.path.removeprefix("/api/v1/nni/trial-jobs/")
                self.send_response(200 if job in jobs else 500)
                self.end_headers()
                self.wfile.write(json.dumps({"trialJobId": job, "status": jobs.get(job)}).encode())

            def log_message(self, *_):
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server.server_port
            server.shutdown()

    @pytest.fixture
    def experiment(self, tmp_path, port):
        scores = {"a": 0.1, "b": 0.5, "c": 0.9, "d": 0.5, "e": 0.7, "f": "running", "g": None}
        write_journal(tmp_path, [(i, job, score, {"x": i}) for i, (job, score) in enumerate(scores.items())])
        for job in scores:
            keep_files(tmp_path, job)
        return self.running(tmp_path, port)

    def running(self, folder, port, command="python3 -m nni_dream.automl.digits"):
        config = ExperimentConfig.load(CONFIGS / "digits.yml")
        return RunningExperiment("id", port, folder, 7, 2, command, exposure_of(config))

    def test_a_manager_that_does_not_answer_at_once_is_asked_again(self, tmp_path, monkeypatch):
        answers = [requests.ReadTimeout("busy"), requests.ReadTimeout("busy"), {"status": "RUNNING"}]

        def get(*_):
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr("nni_dream.experiments.rest.get", get)
        monkeypatch.setattr("nni_dream.experiments.time.sleep", lambda seconds: None)
        assert self.running(tmp_path, 1).status() == "RUNNING"
        answers[:] = [requests.ReadTimeout("gone")] * 4
        with pytest.raises(ExperimentError, match="NNI's manager on port 1 does not answer: gone"):
            self.running(tmp_path, 1).status()

    def remove(self, experiment, n_kept, *, has_ended=True):
        remove_models(experiment, ExperimentFolder(experiment.folder).summary, n_kept, has_ended=has_ended)
        trials = trials_folder(experiment.folder)
        return "".join(sorted(path.parent.name for path in trials.glob("*/best_model.pt")))

    @pytest.mark.parametrize(("n_kept", "left"), [(1, "c"), (2, "ce"), (3, "bce"), (4, "bcde"), (5, "abcde")])
    def test_the_best_stay_of_equals_the_earlier(self, experiment, n_kept, left):
        assert self.remove(experiment, n_kept) == left

    def test_all_stay_where_there_are_no_more(self, experiment):
        assert self.remove(experiment, 7, has_ended=False) == "abcdefg"

    def test_a_regression_keeps_the_smallest(self, experiment, tmp_path):
        path = journal_path(tmp_path)
        path.write_text(path.read_text().replace("maximize", "minimize"))
        assert self.remove(experiment, 2) == "ab"

    def test_only_the_weights_go(self, experiment, tmp_path):
        self.remove(experiment, 1)
        names = {path.name for path in (tmp_path / "environments/local-env/trials/a").iterdir()}
        assert names == {"best_parameters.json", "trial.log"}

    def test_while_the_experiment_runs_a_result_may_be_on_its_way(self, experiment):
        assert self.remove(experiment, 2, has_ended=False) == "cefg"

    @pytest.mark.parametrize("status", ["RUNNING", "WAITING", "UNKNOWN", "RETRYING"])
    @pytest.mark.parametrize("has_ended", [True, False])
    def test_trials_that_run_are_left_alone(self, experiment, jobs, status, has_ended):
        """A stopped trial has a score before its process is gone."""
        jobs.update(a=status, f=status)
        left = self.remove(experiment, 1, has_ended=has_ended)
        assert {"a", "c", "f"} <= set(left)
        assert not {"b", "d", "e"} & set(left)

    @pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "USER_CANCELED", "SYS_CANCELED", "EARLY_STOPPED"])
    def test_every_kind_of_end_counts(self, experiment, jobs, status):
        jobs.update(dict.fromkeys(jobs, status))
        assert self.remove(experiment, 1) == "c"

    def test_trials_that_nni_does_not_know_are_left_alone(self, experiment, jobs):
        del jobs["a"], jobs["f"]
        assert self.remove(experiment, 1) == "acf"

    def test_without_an_answer_nothing_goes(self, experiment, tmp_path):
        assert self.remove(self.running(tmp_path, 1), 1) == "abcdefg"

    def test_folders_of_trials_that_are_not_ours_are_left_alone(self, experiment, tmp_path):
        """Theirs may have a file of that name."""
        other = self.running(tmp_path, experiment.port, command="python3 trial.py")
        assert self.remove(other, 1) == "abcdefg"

    def test_a_file_of_that_name_that_we_did_not_write_is_left_alone(self, experiment, tmp_path):
        (tmp_path / "environments/local-env/trials/a/best_parameters.json").unlink()
        assert self.remove(experiment, 1) == "ac"

    def test_without_a_score_nothing_goes(self, tmp_path, port):
        write_journal(tmp_path, [(0, "a", "running", {}), (1, "b", None, {"x": 1})])
        for job in "ab":
            keep_files(tmp_path, job)
        assert self.remove(self.running(tmp_path, port), 1) == "ab"

    def test_where_the_folder_of_a_best_model_is_not_known_nothing_goes(self, tmp_path, port):
        """A result that was imported has no job."""
        write_journal(tmp_path, [(0, None, 0.9, {}), (1, "b", 0.5, {"x": 1})])
        for job in "ab":
            keep_files(tmp_path, job)
        assert self.remove(self.running(tmp_path, port), 1) == "ab"

    def test_after_a_resume_the_whole_journal_counts(self, experiment, tmp_path):
        """The best is of the first part; what the second begins with must not forget it."""
        path = journal_path(tmp_path)
        start, *others = path.read_text().splitlines()
        continued = json.dumps({**json.loads(start), "continues": True})
        path.write_text("\n".join([start, *others, continued]) + "\n")
        assert self.remove(experiment, 2) == "ce"

    def test_twice_is_as_once_and_what_was_written_late_goes_too(self, experiment, tmp_path):
        self.remove(experiment, 1)
        keep_files(tmp_path, "a")
        assert self.remove(experiment, 1) == "c"

    def test_trials_of_other_machines_have_no_folder_here(self, tmp_path, port):
        write_journal(tmp_path, [(0, "a", 0.9, {}), (1, "b", 0.5, {"x": 1})])
        assert self.remove(self.running(tmp_path, port), 1) == ""


class TestUnderNnictl:
    """Nobody looks at the space before the tuner: it asks the manager what the trials are, and those what they can."""

    def tuned(self, monkeypatch, log_folder, command, folder=CONFIGS):
        monkeypatch.setattr("nni_dream.tuner.local_trial", lambda: command and LocalTrial(command, folder))
        tuner = DreamTuner(seed=0)
        tuner.update_search_space(json.loads((CONFIGS / "spaces" / "image_expanded.json").read_text(encoding="utf-8")))
        return tuner

    def pretrained(self, tuner):
        return {
            option.value
            for parameter in tuner.suggester.space.walk()
            if parameter.name == "pretrained"
            for option in parameter.options
        }

    def test_what_needs_weights_that_are_not_there_leaves_the_space(self, monkeypatch, log_folder, caplog):
        command = "python3 -m nni_dream.automl.trial --task image_classification --data digits --scale tiny"
        tuner = self.tuned(monkeypatch, log_folder, command)
        assert self.pretrained(tuner) == {"false"}
        assert "no weights at hand" in caplog.text

    def test_a_space_of_which_nothing_can_be_had_ends_the_experiment_with_its_reason(self, monkeypatch, log_folder):
        command = "python3 -m nni_dream.automl.trial --task image_classification --data digits --scale tiny"
        monkeypatch.setattr("nni_dream.tuner.local_trial", lambda: LocalTrial(command, CONFIGS))
        block = {"_name": "xception", "pretrained": {"_type": "choice", "_value": ["true"]}}
        tuner = DreamTuner(seed=0)
        tuner.update_search_space({"block_type": {"_type": "choice", "_value": [block]}})
        (refused,) = (event for event in read_journal(log_folder / JOURNAL_NAME) if event["event"] == "refused")
        assert "'block_type.pretrained' of xception can only be true, which needs the weights" in refused["reason"]
        assert tuner.generate_multiple_parameters([0]) == []

    @pytest.mark.parametrize("command", ["python3 trial.py", "python3 trial.py  # it's mine", None])
    def test_the_space_of_others_is_left_alone(self, monkeypatch, log_folder, command):
        assert self.pretrained(self.tuned(monkeypatch, log_folder, command)) == {"true", "false"}

    def test_what_cannot_be_asked_leaves_the_space_as_it_is(self, monkeypatch, log_folder, caplog):
        command = "python3 -m nni_dream.automl.trial --data digits"
        assert self.pretrained(self.tuned(monkeypatch, log_folder, command, Path("/nowhere"))) == {"true", "false"}
        assert "taken as it is" in caplog.text

    def test_a_trial_that_cannot_answer_leaves_the_space_as_it_is(self, monkeypatch, log_folder, caplog):
        tuner = self.tuned(monkeypatch, log_folder, "python3 -m nni_dream.automl.trial --data digits --scale medium")
        assert self.pretrained(tuner) == {"true", "false"}
        assert "taken as it is" in caplog.text
        assert "medium" in caplog.text
