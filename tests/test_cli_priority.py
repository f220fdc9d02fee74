import json
from io import StringIO

import pytest
from priority_building.example import metric_of, settings
from rich.console import Console
from typer.testing import CliRunner

from nni_dream.cli import app, priority_build
from nni_dream.config import parse_settings
from nni_dream.experiment_files import ExperimentError
from nni_dream.priority_building.records import RecordFile, read_records
from nni_dream.priority_building.training_queue import TrainingQueue
from nni_dream.priority_building.tuner import PriorityTunerSettings
from nni_dream.priority_building.workers import Answer
from nni_dream.search.priorities import load_priority_table

OPTIONS = ["--data", "digits", "--task", "image_classification", "--scale", "tiny", "--n-train", "64"]


def invoke(*words):
    return CliRunner().invoke(app, ["priority", *map(str, words)])


def text_of(answer):
    return " ".join((answer.output + answer.stderr).split())


def measured(path, data="toy"):
    """A table of a whole plan whose scores follow a rule."""
    from nni_dream.cli.priority import write_table
    from nni_dream.priority_building.measured_table import measure_table

    own = settings(data=data)
    queue = TrainingQueue(RecordFile(path.with_suffix(".jsonl"), own))
    while (planned := queue.next()) is not None:
        queue.finish(planned.configuration, metric_of(planned.configuration))
    write_table(measure_table(own, RecordFile(path.with_suffix(".jsonl"), own).records.values(), task="toy"), path)
    return path


class TestBuild:
    @pytest.fixture
    def config(self, tmp_path):
        path = tmp_path / "toy.yml"
        experiment = {
            "experimentName": "toy",
            "searchSpace": {
                "block_type": {"_type": "choice", "_value": [{"_name": "vanilla"}]},
                "learning_rate": {"_type": "choice", "_value": [0.01, 0.001]},
            },
            "trialCommand": f"python3 -m nni_dream.automl.trial {' '.join(OPTIONS)} --epochs 9",
            "trialCodeDirectory": ".",
            "trialConcurrency": 1,
            "tuner": {
                "className": "nni_dream.priority_building.tuner.PriorityTuner",
                "codeDirectory": ".",
                "classArgs": {"n_models": 1},
            },
            "trainingService": {"platform": "local"},
        }
        path.write_text(json.dumps(experiment), encoding="utf-8")  # JSON is YAML
        return path

    @pytest.fixture
    def workers(self, monkeypatch):
        """Answers that follow a rule, in the place of trainings; what the workers were told.

        What the trial knows of its data is not asked for: its process takes seconds to start.
        """
        told = []

        def train_all(tasks, options, *, n_workers, folder):
            told.append((options, n_workers))
            for planned, configuration in tasks:
                yield planned, Answer(metric=metric_of(configuration), seconds=1.0)

        monkeypatch.setattr("nni_dream.priority_building.workers.train_all", train_all)
        monkeypatch.setattr("nni_dream.own_trials.restrict_space", lambda config: [])
        return told

    def build(self, config, output, *words):
        return invoke("build", config, "-o", output, "--workers", "2", *words)

    def test_its_options_reach_the_trainings(self, config, tmp_path, workers):
        output = tmp_path / "toy.json"
        options = ["--models", 2, "--epochs", 1, "--batch-size", 16, "--data-dir", tmp_path]
        answer = self.build(config, output, *options)
        assert answer.exit_code == 0, text_of(answer)
        ((told, n_workers),) = workers
        assert [told[told.index(name) + 1] for name in ("--epochs", "--batch-size")] == ["1", "16"]
        assert str(tmp_path) in told
        assert n_workers == 2
        made = load_priority_table(str(output)).provenance
        assert (made.n_models, made.n_trainings) == (2, 4)
        assert made.trial_commands[0].endswith("--epochs 1 --batch-size 16")
        assert str(tmp_path) not in made.trial_commands[0]

    def test_a_cap_on_trainings_is_for_the_file(self, config, tmp_path, workers):
        options = ["--models", "2", "--max-trainings", "3"]
        assert "3 trainings planned, 0 of them" in text_of(self.build(config, tmp_path / "toy.json", *options))
        assert "3 trainings planned, 3 of them" in text_of(
            self.build(config, tmp_path / "toy.json", *options, "--force")
        )

    @pytest.mark.parametrize("limit", [1, 2])
    def test_a_cap_that_leaves_only_seed_models_is_refused_before_anything_is_trained(
        self, config, tmp_path, workers, limit
    ):
        answer = self.build(config, tmp_path / "toy.json", "--models", "2", "--max-trainings", limit)
        assert answer.exit_code == 1
        assert f"error: --max-trainings is {limit}, expected more than the 2 seed models" in text_of(answer)
        assert workers == []

    def test_no_time_no_training(self, config, tmp_path, workers):
        answer = self.build(config, tmp_path / "toy.json", "--max-hours", "0")
        assert (answer.exit_code, "no action was trained yet" in text_of(answer)) == (1, True)
        assert read_records(tmp_path / "toy.trainings.jsonl")[1] == []

    def test_nni_is_told_of_the_plan_and_the_caps(self, config, tmp_path, workers, monkeypatch):
        told = {}

        def running_experiment(config, port):
            told.update(config.tuner.class_args)
            raise ExperimentError("that was all")

        monkeypatch.setattr("nni_dream.experiments.running_experiment", running_experiment)
        answer = invoke("build", config, "-o", tmp_path / "toy.json", "--max-trainings", "3", "--max-hours", "0.5")
        assert "that was all" in text_of(answer)
        tuner_settings = parse_settings(PriorityTunerSettings, told, "PriorityTuner")
        assert (tuner_settings.max_trainings, tuner_settings.max_hours, tuner_settings.n_models) == (3, 0.5, 1)
        assert tuner_settings.records == str(tmp_path / "toy.trainings.jsonl")
        assert tuner_settings.data == "digits"

    def test_nni_is_not_started_for_what_is_left_on_a_failed_model(self, config, tmp_path, workers, monkeypatch):
        output, options = tmp_path / "toy.json", ["--models", "2", "--force"]
        self.build(config, output, *options)
        records = tmp_path / "toy.trainings.jsonl"
        lines = records.read_text().splitlines()
        of_the_first = [line for line in lines[1:] if '"model":0' in line and '"action"' not in line]
        failed = json.dumps({**json.loads(of_the_first[0]), "status": "failed", "score": None})
        kept = [line for line in lines if '"model":0' not in line]
        records.write_text("\n".join([*kept, failed, ""]))
        monkeypatch.setattr("nni_dream.experiments.running_experiment", lambda *_: pytest.fail("NNI was started"))
        answer = invoke("build", config, "-o", output, *options)
        assert answer.exit_code == 0, text_of(answer)
        assert "4 trainings planned, 3 of them done" in text_of(answer)

    def test_shows_progress_and_the_time_that_is_left(self, config, tmp_path, workers, monkeypatch):
        screen = Console(file=StringIO(), force_terminal=True, color_system=None, width=200)
        monkeypatch.setattr(priority_build, "console", screen)
        self.build(config, tmp_path / "toy.json")
        assert "1 of 2 trainings, 0 failed, 0:00 h left" in screen.file.getvalue()

    @pytest.mark.slow
    def test_trains_the_plan_and_writes_the_table(self, config, tmp_path):
        output = tmp_path / "out" / "toy.json"
        answer = invoke("build", config, "-o", output, "--workers", "1", "--epochs", "1", "--batch-size", "16")
        assert answer.exit_code == 0, text_of(answer)
        assert "2 trainings planned, 0 of them done" in text_of(answer)
        made = load_priority_table(str(output)).provenance
        assert (made.data, made.n_trainings) == (("digits",), 2)
        assert made.trial_commands[0].endswith("--n-train 64 --epochs 1 --batch-size 16")

        again = invoke(
            "build", config, "-o", output, "--force", "--workers", "1", "--epochs", "1", "--batch-size", "16"
        )
        assert "2 trainings planned, 2 of them done" in text_of(again)
        other = invoke(
            "build", config, "-o", output, "--force", "--workers", "1", "--epochs", "2", "--batch-size", "16"
        )
        assert other.exit_code == 1
        assert "trainings with other settings cannot be compared" in text_of(other)

    def test_its_own_output_is_replaced_when_it_goes_on(self, config, tmp_path, workers):
        """As after --max-hours: the same command again, or with more trainings."""
        output = tmp_path / "toy.json"
        for limit in (3, 4):
            answer = self.build(config, output, "--models", "2", "--max-trainings", limit)
            assert answer.exit_code == 0, text_of(answer)
            assert load_priority_table(str(output)).provenance.n_trainings == limit
        answer = self.build(config, output, "--models", "2", "--epochs", "1")
        assert "is there already; give --output another name, or replace it with --force" in text_of(answer)

    def test_a_table_whose_trainings_are_not_those_that_go_on_is_not_replaced(self, config, tmp_path, workers):
        """The same data, command and seed may be another measurement: of another space, say."""
        output, records = tmp_path / "toy.json", tmp_path / "toy.trainings.jsonl"
        self.build(config, output)
        table = output.read_bytes()
        config.write_text(config.read_text().replace("[0.01, 0.001]", "[0.01, 0.1]"))
        answer = self.build(config, output)
        assert "has trainings with search_space" in text_of(answer)
        records.rename(tmp_path / "kept.jsonl")
        for words in ([], ["--records", tmp_path / "new.jsonl"]):
            answer = self.build(config, output, *words)
            assert answer.exit_code == 1
            assert "is there already; give --output another name, or replace it with --force" in text_of(answer)
        assert output.read_bytes() == table
        assert not records.exists()
        assert self.build(config, output, "--force").exit_code == 0
        assert output.read_bytes() != table

    def test_arguments_of_the_tuner_in_the_yaml_count_where_no_option_says_otherwise(self, config, tmp_path, workers):
        args = '{"n_models": 2, "max_trainings": 3, "records": "%s"}' % (tmp_path / "mine.jsonl")
        config.write_text(config.read_text().replace('{"n_models": 1}', args))
        answer = self.build(config, tmp_path / "toy.json")
        assert "3 trainings planned" in text_of(answer)
        assert len(read_records(tmp_path / "mine.jsonl")[1]) == 3

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            ('{"n_model": 4}', "PriorityTuner: n_model is 4: Extra inputs are not permitted"),
            ('{"optimize_mode": "max"}', "PriorityTuner: optimize_mode is 'max'"),
            ('{"n_models": "many"}', "PriorityTuner: n_models is 'many'"),
            ('{"seed": -1}', "PriorityTuner: seed is -1"),
        ],
    )
    def test_a_wrong_argument_of_the_tuner_is_named(self, config, tmp_path, workers, args, words):
        config.write_text(config.read_text().replace('{"n_models": 1}', args))
        answer = self.build(config, tmp_path / "toy.json")
        assert (answer.exit_code, words in text_of(answer)) == (1, True), text_of(answer)
        assert workers == []

    def test_another_tuner_is_refused(self, config, tmp_path, workers):
        config.write_text(config.read_text().replace("priority_building.tuner.PriorityTuner", "tuner.DreamTuner"))
        answer = self.build(config, tmp_path / "toy.json")
        assert answer.exit_code == 1
        assert (
            "the tuner is nni_dream.tuner.DreamTuner, expected className: "
            "nni_dream.priority_building.tuner.PriorityTuner" in text_of(answer)
        )

    def test_an_output_that_is_there_is_not_replaced(self, config, tmp_path):
        (tmp_path / "toy.json").write_text("mine")
        answer = invoke("build", config, "-o", tmp_path / "toy.json")
        assert answer.exit_code == 1
        assert "is there already; give --output another name, or replace it with --force" in text_of(answer)
        assert (tmp_path / "toy.json").read_text() == "mine"

    def test_the_trainings_are_not_replaced_by_their_table(self, config, tmp_path, workers):
        """Nor where they are not there yet."""
        for _ in range(2):
            answer = self.build(config, tmp_path / "toy.jsonl", "--records", tmp_path / "toy.jsonl", "--force")
            assert (answer.exit_code, "is a file that this command reads" in text_of(answer)) == (1, True)
            assert workers == []
            self.build(config, tmp_path / "toy.json", "--records", tmp_path / "toy.jsonl")
            workers.clear()
        assert len(read_records(tmp_path / "toy.jsonl")[1]) == 2

    def with_command(self, config, command):
        experiment = json.loads(config.read_text())
        config.write_text(json.dumps({**experiment, "trialCommand": command}))

    def test_workers_are_told_the_words_that_the_shell_would_read(self, config, tmp_path, workers, monkeypatch):
        monkeypatch.setenv("HERE", str(tmp_path))
        monkeypatch.setenv("HOME", "/home/me")
        words = f"{' '.join(OPTIONS)} --data-dir $HERE/data --weights-dir ~/weights --epochs 9"
        self.with_command(config, f"python3 -m nni_dream.automl.trial {words} > log.txt 2>&1")
        answer = self.build(config, tmp_path / "toy.json")
        assert answer.exit_code == 0, text_of(answer)
        told, _ = workers[0]
        assert told == [
            *OPTIONS,
            "--data-dir",
            f"{tmp_path}/data",
            "--weights-dir",
            "/home/me/weights",
            "--epochs",
            "9",
        ]

    def test_workers_need_words_that_are_known_before_anything_is_written(self, config, tmp_path, workers):
        self.with_command(config, f"python3 -m nni_dream.automl.trial {' '.join(OPTIONS)} --data-dir $(pwd)/data")
        answer = self.build(config, tmp_path / "toy.json")
        assert (answer.exit_code, workers) == (1, [])
        assert "only the shell can read" in text_of(answer)
        assert "write its words plainly, or leave out --workers" in text_of(answer)
        assert list(tmp_path.glob("*.jsonl")) == []

    @pytest.mark.parametrize("force", [[], ["--force"]])
    @pytest.mark.parametrize("output", [".", "folder"])
    def test_an_output_that_is_a_folder_is_refused(self, config, tmp_path, workers, monkeypatch, output, force):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder").mkdir()
        answer = self.build(config, output, *force)
        assert (answer.exit_code, workers) == (1, [])
        assert f"{output}: is a folder; give --output the name of a file" in text_of(answer)

    def test_workers_are_for_our_own_trials(self, config, tmp_path):
        config.write_text(config.read_text().replace("-m nni_dream.automl.trial", "toy.py"))
        answer = invoke("build", config, "-o", tmp_path / "toy.json", "--workers", "1")
        assert answer.exit_code == 1
        assert "--workers is for trials of nni_dream.automl.trial" in text_of(answer)

    def test_a_missing_config_is_one_error(self, tmp_path):
        answer = invoke("build", tmp_path / "none.yml", "-o", tmp_path / "toy.json")
        assert answer.exit_code == 1
        assert "none.yml" in text_of(answer)


class TestShow:
    def test_lists_the_best_actions_of_each_condition(self, tmp_path):
        answer = invoke("show", measured(tmp_path / "toy.json"), "--top", "1", "--plot", tmp_path / "toy.png")
        assert answer.exit_code == 0
        assert "data toy; 4 seed models" in text_of(answer)
        assert "1 learning_rate=0.01" in text_of(answer)
        assert "2 " not in [line.strip()[:2] for line in answer.output.splitlines()]
        assert (tmp_path / "toy.png").read_bytes()[1:4] == b"PNG"

    def test_a_condition_may_leave_parts_open(self):
        answer = invoke("show", "paper_table2", "--condition", "OA-SC-*-*", "--top", "1")
        conditions = [line.split()[0] for line in answer.output.splitlines() if "actions)" in line]
        assert conditions == ["OA-SC-DG-NW", "OA-SC-EG-EW"]

    def test_a_table_of_ranks_can_be_drawn(self, tmp_path):
        assert invoke("show", "paper_table2", "--plot", tmp_path / "p.png").exit_code == 0
        assert (tmp_path / "p.png").exists()

    @pytest.mark.parametrize("name", ["table.xyz", "table", "folder", "folder.png"])
    def test_a_plot_that_is_no_png_is_refused_before_anything_is_printed(self, tmp_path, name):
        if name.startswith("folder"):
            (tmp_path / name).mkdir()
        answer = invoke("show", "image", "--plot", tmp_path / name)
        assert (answer.exit_code, answer.stdout) == (1, "")
        assert "is no PNG file: expected a path that ends in .png" in text_of(answer)

    def test_a_condition_that_the_table_does_not_have_is_said(self):
        answer = invoke("show", "image", "--condition", "TA-*-*-*")
        assert (answer.exit_code, answer.stdout) == (1, "")
        assert "no condition of the table matches TA-*-*-*; it has EA-NC-NG-NW, " in text_of(answer)

    def test_a_number_of_models_that_is_not_stated_is_a_dash(self, tmp_path):
        table = json.loads(measured(tmp_path / "toy.json").read_text())
        for row in table["rows"]:
            for action in row["actions"]:
                del action["n"]
        (tmp_path / "toy.json").write_text(json.dumps(table))
        answer = invoke("show", tmp_path / "toy.json")
        assert "n -, sd" in text_of(answer)
        assert "None" not in answer.output

    def test_errors_are_one_line(self):
        assert "neither a shipped table" in text_of(invoke("show", "none"))
        answer = invoke("show", "paper_table2", "--condition", "OA")
        assert (answer.exit_code, "has 1 parts, expected 4" in text_of(answer)) == (1, True)


def test_compare_says_how_far_two_tables_agree(tmp_path):
    one = measured(tmp_path / "one.json")
    answer = invoke("compare", one, one)
    assert "+1.00" in answer.output
    assert "mean rank correlation" in answer.output
    apart = invoke("compare", one, "paper_table2")
    assert "only in paper_table2: EA-NC-DG-NW" in text_of(apart)


def test_merge_adds_up(tmp_path):
    tables = [measured(tmp_path / f"{name}.json", data=name) for name in ("one", "two")]
    answer = invoke("merge", *tables, "-o", tmp_path / "both.json")
    assert answer.exit_code == 0
    assert load_priority_table(str(tmp_path / "both.json")).provenance.data == ("one", "two")
    refused = invoke("merge", tables[0], "paper_table2", "-o", tmp_path / "wrong.json")
    assert (refused.exit_code, "cannot be merged" in text_of(refused)) == (1, True)
    assert not (tmp_path / "wrong.json").exists()
    twice = invoke("merge", tables[0], tmp_path / "both.json", "-o", tmp_path / "wrong.json")
    assert (twice.exit_code, "would count twice" in text_of(twice)) == (1, True)


def test_import_reads_the_layout_of_the_papers_repository(tmp_path):
    (tmp_path / "ranks.csv").write_text("OA-NC-NG-NW\nblock type=xception\nlearning rate=0.01\n")
    answer = invoke("import", tmp_path / "ranks.csv", "-o", tmp_path / "ranks.json")
    assert answer.exit_code == 0
    table = load_priority_table(str(tmp_path / "ranks.json"))
    assert table.task == load_priority_table("image").task == "image_classification"
    (row,) = table.rows
    assert [(action.object, action.value) for action in row.actions] == [
        ("block_type", "xception"),
        ("learning_rate", 0.01),
    ]
    assert "no column's head" in text_of(invoke("import", __file__, "-o", tmp_path / "x.json"))


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_output_that_is_a_folder_is_refused(tmp_path, force):
    done = invoke("merge", "image", "image", "-o", tmp_path, *force)
    assert done.exit_code == 1
    assert f"{tmp_path}: is a folder; give --output the name of a file" in done.stderr.replace("\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_merged_is_not_replaced(tmp_path):
    tables = [measured(tmp_path / f"{name}.json", data=name) for name in ("one", "two")]
    before = tables[0].read_bytes()
    done = invoke("merge", *tables, "-o", tables[0], "--force")
    assert (done.exit_code, "is a file that this command reads" in text_of(done)) == (1, True)
    assert tables[0].read_bytes() == before


@pytest.mark.parametrize("words", [("merge", "one.json", "two.json", "-o"), ("show", "image", "--plot")])
def test_an_output_that_cannot_be_written_is_one_line(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        measured(tmp_path / f"{name}.json", data=name)
    done = invoke(*words, "/proc/table.png")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert isinstance(done.exception, SystemExit)


def test_square_brackets_in_a_path_are_printed(tmp_path):
    done = invoke("show", "image", "--top", 1, "--plot", tmp_path / "old [1]" / "table.png")
    assert f"plot: {tmp_path / 'old [1]' / 'table.png'}" in done.stdout.replace("\n", "")
