"""The replay bench: answers from recorded trainings, and no judging on what fitted the table."""

import gzip
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from priority_building.example import SPACE, metric_of, settings

from nni_dream.priority_building.measured_table import measure_table
from nni_dream.priority_building.records import RecordFile, TrainedAction, TrainingRecord
from nni_dream.priority_building.tables import merge_tables
from nni_dream.priority_building.training_queue import TrainingQueue
from nni_dream.search.priorities import load_priority_table

DROPOUT = {"_type": "choice", "_value": [0.0, 0.1, 0.2, 0.3, 0.4]}
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def toy_settings(data, seed):
    return settings(data=data, seed=seed, search_space={**SPACE, "dropout": DROPOUT})


@pytest.fixture(scope="module")
def bench():
    """The modules of the benchmark, which is a script and no package."""
    sys.path.insert(0, str(BENCHMARKS))
    yield {name: importlib.import_module(name) for name in ("recorded_trials", "replay", "condition_value")}
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of trainings on two data sets, each half of a plan."""
    folder = tmp_path_factory.mktemp("records")
    for data, seed in (("toy", 0), ("other", 1)):
        path = folder / f"{data}.jsonl"
        queue = TrainingQueue(RecordFile(path, toy_settings(data, seed)), max_trainings=24)
        while (planned := queue.next()) is not None:
            queue.finish(planned.configuration, metric_of(planned.configuration))
        (folder / f"{data}.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    return folder


@pytest.fixture(scope="module")
def trials(bench, folder):
    return bench["recorded_trials"].RecordedTrials(folder / "toy.jsonl.gz")


def test_what_was_trained_is_looked_up(trials):
    record = trials.records[0]
    assert trials.answer(record.parameters) == (record.score, record.feedback)


def test_the_same_question_has_the_same_answer(bench, folder, trials):
    unseen = {"block_type": {"_name": "vanilla", "filters": 64}, "learning_rate": 0.5, "dropout": 0.9}
    again = bench["recorded_trials"].RecordedTrials(folder / "toy.jsonl.gz")
    score, feedback = trials.answer(unseen)
    assert again.answer(unseen) == (score, feedback)
    assert 0 <= score <= 1
    assert max(epoch.val_score for epoch in feedback.epochs) == pytest.approx(score)


def test_the_error_is_that_on_models_it_has_not_seen(trials):
    error = trials.held_out_error()
    assert error.mean_absolute_error > 0
    assert error.r2 <= 1
    assert error.condition_accuracy == 1  # every training of the example is healthy; some are residual networks


def test_a_model_is_unseen_with_all_that_was_changed_on_it(bench, tmp_path):
    """Scores are of chance alone, but one a model: who has seen a model's changed ones can tell its score."""
    path = tmp_path / "chance.jsonl"
    file = RecordFile(path, toy_settings("chance", 0))
    scores = np.random.default_rng(0).uniform(size=40)
    for model, score in enumerate(scores):
        for value in range(5):
            action = None if value == 0 else TrainedAction(object="dropout", value=value, key=str(value))
            parameters = {"learning_rate": float(model), "dropout": value}
            file.add(TrainingRecord(model=model, action=action, parameters=parameters, status="succeeded", score=score))
    assert bench["recorded_trials"].RecordedTrials(path).held_out_error().r2 < 0.1


def test_a_table_of_the_same_data_is_refused(bench, folder, trials):
    module = bench["recorded_trials"]
    own = RecordFile(folder / "toy.jsonl", toy_settings("toy", 0))
    table = measure_table(own.settings, own.records.values(), task="toy")
    with pytest.raises(module.SharedDataError, match="measured on toy, and the searches are judged on toy"):
        module.refuse_shared_data(table, trials)
    module.refuse_shared_data(load_priority_table("paper_table2"), trials)


def test_no_search_is_judged_on_the_data_of_its_table(bench, folder):
    """Refused where the searches are run, before the first of them."""
    curves = {}
    with pytest.raises(bench["recorded_trials"].SharedDataError):
        bench["replay"].compare(
            folder, "toy", "toy", n_seeds=1, n_trials=2, curves=curves, entered=bench["replay"].tuners()
        )
    assert curves == {}


def test_a_table_merged_of_this_and_other_data_is_refused(bench, folder, trials):
    module = bench["recorded_trials"]
    tables = []
    for data, seed in (("other", 1), ("toy", 0)):
        own = RecordFile(folder / f"{data}.jsonl", toy_settings(data, seed))
        tables.append(measure_table(own.settings, own.records.values(), task="toy"))
    module.refuse_shared_data(tables[0], trials)
    with pytest.raises(module.SharedDataError, match="measured on other, toy"):
        module.refuse_shared_data(merge_tables(tables), trials)


def test_every_tuner_searches_and_the_report_has_all_of_them(bench, folder):
    curves = {}
    text = bench["replay"].compare(
        folder, "toy", "other", n_seeds=2, n_trials=12, curves=curves, entered=bench["replay"].tuners()
    )
    for name in ("NNI TPE", "NNI Random", "NNI Evolution", "Dream learning (thompson, default)", "Dream static"):
        assert f"| {name} |" in text
        assert len(curves["toy"][name]) == 12
        assert list(curves["toy"][name]) == sorted(curves["toy"][name]), "best so far never falls"


def test_a_tuner_that_ends_early_keeps_its_best(bench, trials):
    """A grid that is used up, say."""

    def only_the_start(search):
        yield importlib.import_module("tuners").Trial(search.start)

    (search,) = bench["replay"].searches(trials, 1, 4)
    score, _ = trials.answer(search.start)
    assert bench["replay"].curve(only_the_start, search, trials) == [score] * 4


def test_all_searches_of_a_number_start_alike(bench, trials):
    searches = bench["replay"].searches(trials, 3, 25)
    median = sorted(record.score for record in trials.seed_models)[len(trials.seed_models) // 2]
    assert all(trials.answer(search.start)[0] <= median for search in searches)


@pytest.fixture
def run(bench, folder, tmp_path, monkeypatch):
    """A command of the benchmark with the fewest tuners; the report that it writes."""

    def run(*words, name="replay"):
        monkeypatch.setattr("logging.disable", lambda _: None)  # it would outlive this test
        output = tmp_path / "out.md"
        monkeypatch.setattr("sys.argv", [f"{name}.py", *words, "--records", str(folder), "--output", str(output)])
        bench[name].main()
        return output.read_text()

    return run


@pytest.mark.parametrize(
    ("n_trials", "heads"),
    [
        (3, ["best at 3", "better than NNI TPE at 3", "difference at 3 (95 %)"]),
        (10, ["best at 5", "best at 10", "better than NNI TPE at 10", "difference at 10 (95 %)"]),
        (
            12,
            [
                "best at 5",
                "best at 10",
                "best at 12",
                "better than NNI TPE at 10",
                "better than NNI TPE at 12",
                "difference at 12 (95 %)",
            ],
        ),
    ],
)
def test_the_report_is_of_as_many_trials_as_were_asked_for(bench, run, n_trials, heads):
    without = [word for name in bench["replay"].dispensable() for word in ("--without", name)]
    text = run("--on", "toy=other", "--seeds", "1", "--trials", str(n_trials), *without)
    assert f"--seeds 1 --trials {n_trials}" in text
    head, _, *lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    assert [name.strip() for name in head[1:-3]] == heads
    assert [line[0].strip() for line in lines] == list(bench["replay"].NEEDED)
    assert all(len(line) == len(head) for line in lines)
    for n in {min(10, n_trials), n_trials}:
        assert f"than every third-party tuner at {n} in " in text
        assert f"With feedback minus score only at {n}: +" in text or f"score only at {n}: -" in text
    assert "at 25" not in text


@pytest.mark.parametrize("tuner", ["NNI TPE", "Dream learning (score only)", "Dream learning (thompson, default)"])
def test_what_all_are_compared_with_cannot_be_left_out(run, tuner, capsys):
    with pytest.raises(SystemExit) as stop:
        run("--on", "toy=other", "--seeds", "1", "--trials", "2", "--without", tuner)
    assert stop.value.code == 2
    assert f"invalid choice: '{tuner}'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["replay", "condition_value"])
@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("toy=toy", "error: the table was measured on toy, and the searches are judged on toy"),
        ("toy=none", "error: .*none.jsonl.gz: cannot be read"),
    ],
)
def test_data_that_cannot_be_judged_are_one_line(run, name, pair, words):
    with pytest.raises(SystemExit, match=words):
        run("--on", pair, name=name)


@pytest.mark.parametrize("name", ["replay", "condition_value"])
@pytest.mark.parametrize("pair", ["toy", "toy=", "=other"])
def test_a_pair_has_two_names(run, name, pair, capsys):
    with pytest.raises(SystemExit) as stop:
        run("--on", pair, name=name)
    assert stop.value.code == 2
    assert f"is '{pair}', must be DATA=OTHER" in capsys.readouterr().err
