"""The comparison on numeric ranges, with its real trainings: they take a fraction of a second."""

import re
from statistics import median

import pytest
import ranges
from optuna_tuners import optuna_tuners
from ranges import SPACE, TASKS, begin, searches
from smac_tuner import smac_tuners
from tuners import Outcome, Search, Trial, dream, hold

from nni_dream.search.parameters import Range
from nni_dream.search.space import SearchSpace

START = {
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "batch_size": 32,
    "hidden_size": 8,
    "activation": "tanh",
    "epochs": 2,
}
OTHERS = {**optuna_tuners(), **smac_tuners()}


@pytest.fixture
def task():
    """The quickest, with nothing trained so far."""
    return ranges.Task(TASKS["diabetes"].load, TASKS["diabetes"].model, 220, "R2")


def test_each_configuration_is_trained_once_and_its_cost_counts_in_every_search(task):
    steps = []
    one, other = (task.answer(Trial(dict(START)), steps) for _ in range(2))
    assert one == other
    assert 0 < one.score < 1
    assert len(task.outcomes) == 1
    assert steps[0] == steps[1]
    assert steps[0].seconds > 0


def test_a_training_that_explodes_has_failed(task):
    exploded = {**START, "activation": "relu", "learning_rate": 1.0, "momentum": 0.99, "batch_size": 8}
    assert task.answer(Trial(exploded), []) == Outcome(None)


def test_a_training_that_cannot_be_is_an_error(task):
    with pytest.raises(ValueError, match="activation"):
        task.answer(Trial({**START, "activation": "sine"}), [])


def test_searches_start_with_the_worst_that_did_not_fail(task, monkeypatch):
    """Of a start that failed nothing could be repaired."""
    scores = iter([0.9, None, 0.1, 0.5, None, -2.0, 0.3, *[1.0] * 13])

    def answer(trial, steps):
        score = next(scores)
        drawn.append(trial.configuration)
        return Outcome(score)

    drawn = []
    monkeypatch.setattr(ranges.Task, "answer", lambda _, trial, steps: answer(trial, steps))
    starts = task.starts()
    assert len(starts) == 9, "the worse half of the 18 that did not fail"
    assert starts[:5] == [drawn[place] for place in (5, 2, 6, 3, 0)]


def test_all_tuners_of_a_seed_begin_with_a_start_of_the_worse_half(task):
    starts = task.starts()
    found = [task.answer(Trial(start), []).score for start in starts]
    scores = [score for score, _ in task.outcomes.values() if score is not None]
    assert found == sorted(scores)[: len(starts)]
    assert max(found) <= median(scores)
    assert next(begin(dream(), starts, 3)).configuration == starts[3]
    assert next(begin(dream(), starts, len(starts) + 3)).configuration == starts[3]


@pytest.mark.parametrize("name", OTHERS or [pytest.param("", marks=pytest.mark.skip(reason="needs optuna or smac"))])
def test_the_tuners_of_others_search_the_same_space(name):
    """Answered by a number: what they ask for lies in the ranges, and ranges have more than the five values of ours."""
    asked = []

    def answer(trial):
        asked.append(trial.configuration)
        return Outcome(-abs(trial.configuration["momentum"] - 0.5))

    hold(OTHERS[name](Search(SPACE, START, 0, 12)), answer)
    assert asked[0] == START
    for parameter in SearchSpace(SPACE).walk():
        values = [configuration[parameter.name] for configuration in asked]
        assert all(map(parameter.contains, values)), parameter.name
        assert len(set(values)) > 5 or not isinstance(parameter, Range)


@pytest.mark.skipif("SMAC3" not in OTHERS, reason="needs smac")
@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.2, None, 0.4], [-0.2, 0.0, -0.4]),
        ([-1.5, None, -7.0, None, 0.4], [1.5, 1.5, 7.0, 7.0, -0.4]),
        ([None, -0.5], [0.0, 0.5]),
    ],
)
def test_no_score_is_worse_than_a_crash(monkeypatch, scores, expected):
    """Also where scores are below zero, as an R2 or a loss may be: a crash costs what the worst so far did."""
    from smac import HyperparameterOptimizationFacade

    costs = []
    tell = HyperparameterOptimizationFacade.tell

    def noted(self, info, value, *args):
        costs.append(value.cost)
        tell(self, info, value, *args)

    monkeypatch.setattr(HyperparameterOptimizationFacade, "tell", noted)
    answers = iter(scores)
    hold(OTHERS["SMAC3"](Search(SPACE, START, 0, len(scores))), lambda _: Outcome(next(answers)))
    assert costs == expected


@pytest.mark.parametrize("name", OTHERS or [pytest.param("", marks=pytest.mark.skip(reason="needs optuna or smac"))])
def test_a_type_that_is_not_translated_is_named(name):
    space = {"width": {"_type": "qnormal", "_value": [0, 1, 0.5]}}
    with pytest.raises(TypeError, match="parameter width: qnormal is not translated"):
        next(OTHERS[name](Search(space, {"width": 0.5}, 0, 3)))


def test_the_report_has_a_line_for_every_tuner_and_pair(monkeypatch, tmp_path, task):
    monkeypatch.setattr("logging.disable", lambda _: None)  # it would outlive this test
    monkeypatch.setattr(ranges, "N_TRIALS", 6)
    monkeypatch.setattr(ranges, "TASKS", {"diabetes": task})
    output = tmp_path / "out.md"
    words = ["--seeds", "2", "--tuners", "Dream learning", "NNI TPE", "--output", str(output)]
    monkeypatch.setattr("sys.argv", ["ranges.py", *words])
    ranges.main()
    text = output.read_text()
    assert "## diabetes" in text
    assert re.search(r"^\| Dream learning \| 2 \|", text, re.MULTILINE)
    assert re.search(r"^\| NNI TPE \| 2 \| [+-]", text, re.MULTILINE)
    assert (tmp_path / "out.png").stat().st_size > 1000


def test_the_same_seed_brings_the_same_search(task):
    entered = {"Dream learning": dream(is_score_only=True)}
    one, other = (searches(task, entered, 1)["Dream learning"][0] for _ in range(2))
    assert one == other
