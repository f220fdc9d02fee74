"""Which experiment, which trial, which folder; and what is said when there is none."""

import os

import pytest
from kept_experiments import keep_files, trial_folder, write_journal

from nni_dream.automl.digits_parameters import read_digits_parameters
from nni_dream.automl.task_settings import read_settings
from nni_dream.experiment_folders import ExperimentFolder, ExperimentFolderError, check_kept_model, find_experiment

RESNET = {"block_type": "resnet"}
EFFICIENT = {"block_type": {"_name": "efficient", "version": "b1"}}


def digits(parameters):
    """As the digits trial describes its model: with all defaults."""
    return {"networks": "digits", "parameters": read_digits_parameters(parameters).to_nested()}


def task(parameters):
    settings = read_settings("image_classification", parameters)
    return {"task": "image_classification", "parameters": settings.to_nested()}


@pytest.fixture
def folder(tmp_path):
    """Three trials with a score, of which the first and the best keep a model, and one that runs."""
    trials = [
        (0, "a", 0.5, RESNET),
        (1, "b", 0.9, EFFICIENT),
        (2, "c", None, {}),
        (3, "d", 0.7, {}),
        (4, "e", "running", {}),
    ]
    folder = write_journal(tmp_path / "experiments" / "id1", trials)
    keep_files(folder, "a", digits(RESNET))
    keep_files(folder, "b", task(EFFICIENT))
    trial_folder(folder, "d").mkdir()
    return folder


class TestFind:
    def test_by_its_folder(self, folder):
        assert find_experiment(str(folder)).id == "id1"

    def test_by_its_id(self, folder):
        assert find_experiment("id1", folder.parent).path == folder

    def test_by_its_id_where_nni_keeps_experiments(self, folder, monkeypatch):
        monkeypatch.setenv("HOME", str(folder.parents[1]))
        (folder.parents[1] / "experiments").rename(folder.parents[1] / "nni-experiments")
        assert find_experiment("id1").id == "id1"

    def test_by_the_link_that_nni_keeps(self, folder):
        (folder.parent / "_latest").symlink_to(folder)
        assert find_experiment("_latest", folder.parent).id == "id1"

    def test_there_is_none(self, folder):
        words = rf"'id2' is no folder, and no experiment in {folder.parent} \(--working-dir\); experiments there: id1$"
        with pytest.raises(ExperimentFolderError, match=words):
            find_experiment("id2", folder.parent)

    def test_there_is_none_at_all(self, tmp_path):
        with pytest.raises(ExperimentFolderError, match="experiments there: none"):
            find_experiment("id2", tmp_path / "absent")

    def test_the_folder_around_experiments_names_the_newest_of_them(self, folder):
        for i in range(2, 8):
            other = write_journal(folder.parent / f"id{i}", [])
            os.utime(other / "log" / "dream_journal.jsonl", (i * 1e9, i * 1e9))
        os.utime(folder / "log" / "dream_journal.jsonl", (1e9, 1e9))
        (folder.parent / "_latest").symlink_to(folder)
        words = r"has no log/dream_journal\.jsonl, so it is no experiment of DreamTuner; experiments there: "
        with pytest.raises(ExperimentFolderError, match=words + "id7, id6, id5, id4, id3 and others$"):
            find_experiment(str(folder.parent))


class TestRow:
    def test_the_best_by_the_journal(self, folder):
        assert ExperimentFolder(folder).row(None).number == 1

    def test_the_best_of_a_regression(self, tmp_path):
        trials = [(0, "a", 0.5, RESNET), (1, "b", 0.9, EFFICIENT)]
        assert ExperimentFolder(write_journal(tmp_path, trials, mode="minimize")).row(None).number == 0

    def test_by_its_number(self, folder):
        assert ExperimentFolder(folder).row(0).job == "a"

    @pytest.mark.parametrize("number", [2, 4, 99, -1])
    def test_without_a_score(self, folder, number):
        with pytest.raises(
            ExperimentFolderError, match=f"no trial {number} has a score; the best that have one: 1, 3, 0"
        ):
            ExperimentFolder(folder).row(number)

    @pytest.mark.parametrize("trials", [[], [(0, "a", "running", {})], [(0, "a", None, {})]])
    def test_no_scores_at_all(self, tmp_path, trials):
        with pytest.raises(ExperimentFolderError, match=r"no trial has a score yet; see .*log"):
            ExperimentFolder(write_journal(tmp_path, trials)).row(None)


class TestKeptModel:
    def test_in_the_folder_of_the_job(self, folder):
        experiment = ExperimentFolder(folder)
        assert experiment.kept_model(experiment.row(None)) == trial_folder(folder, "b")
        assert experiment.kept_model(experiment.row(0)) == trial_folder(folder, "a")

    def test_by_its_parameters_where_the_job_is_not_known(self, tmp_path):
        folder = write_journal(tmp_path, [(0, None, 0.9, EFFICIENT)])
        keep_files(folder, "a", task(RESNET))
        kept = keep_files(folder, "b", task(EFFICIENT))
        experiment = ExperimentFolder(folder)
        assert experiment.kept_model(experiment.row(None)) == kept

    @pytest.mark.parametrize("job", ["elsewhere", None])
    def test_on_another_machine(self, tmp_path, job):
        experiment = ExperimentFolder(write_journal(tmp_path, [(0, job, 0.9, EFFICIENT)]))
        words = r"trial 0 has no folder in .*trials: it ran on another machine, .* give it as --trial-folder"
        with pytest.raises(ExperimentFolderError, match=words):
            experiment.kept_model(experiment.row(None))

    def test_removed_or_never_kept(self, folder):
        experiment = ExperimentFolder(folder)
        with pytest.raises(
            ExperimentFolderError, match=r"trial 3 keeps no model: only trials of .*that keep one: 1, 0$"
        ):
            experiment.kept_model(experiment.row(3))

    @pytest.mark.parametrize("description", [task(RESNET), digits(RESNET), {}, {"task": 1}, [], None])
    def test_of_other_parameters_than_the_journal_says(self, folder, description):
        keep_files(folder, "b", description)
        experiment = ExperimentFolder(folder)
        with pytest.raises(
            ExperimentFolderError, match="holds a model of other parameters than the journal says of tria"
        ):
            experiment.kept_model(experiment.row(None))

    def test_a_copied_folder(self, folder, tmp_path):
        row = ExperimentFolder(folder).row(None)
        check_kept_model(trial_folder(folder, "b"), row)
        with pytest.raises(ExperimentFolderError, match="other parameters than the journal says of trial 1"):
            check_kept_model(trial_folder(folder, "a"), row)
        with pytest.raises(
            ExperimentFolderError, match=f"{tmp_path}: holds no model as trials of nni_dream.automl keep"
        ):
            check_kept_model(tmp_path, row)
