from datetime import date

import pytest
from priority_building.example import metric_of, settings

from nni_dream.config import Thresholds
from nni_dream.feedback import parse_metric
from nni_dream.priority_building.measured_table import gains, measure_table
from nni_dream.priority_building.records import RecordsError, TrainedAction, TrainingRecord

RATES = ({"learning_rate": 0.1}, {"learning_rate": 0.01})


def trained(model, rate, score, is_action=True, error=None):
    parameters = {"block_type": {"_name": "vanilla", "filters": 16}, "learning_rate": rate}
    return TrainingRecord(
        model=model,
        action=TrainedAction(object="learning_rate", value=rate, key=str(rate)) if is_action else None,
        parameters=parameters,
        status="succeeded" if error is None else "failed",
        score=score,
        feedback=parse_metric(metric_of(parameters, score or 0.0)),
        seconds=1800.0,
        error=error,
    )


def table_of(*records, **changes):
    return measure_table(settings(**changes), records, task="toy", today=date(2026, 1, 2))


MODELS = (trained(0, 0.1, 0.2, is_action=False), trained(1, 0.1, 0.4, is_action=False))


def test_an_action_has_mean_and_deviation_of_its_gains():
    (row,) = table_of(*MODELS, trained(0, 0.01, 0.5), trained(1, 0.01, 0.5)).rows
    assert row.condition == "OA-NC-NG-NW"
    (action,) = row.actions
    assert (action.object, action.value, action.n, action.n_failures) == ("learning_rate", 0.01, 2, 0)
    assert action.mean_gain == pytest.approx(0.2)  # 0.3 and 0.1
    assert action.standard_deviation == pytest.approx(0.141421)


def test_gains_of_true_count_together_in_either_form():
    """Of the spaces' options some are true and some the text."""
    forms = [TrainedAction(object="trainable", value=value, key=str(value)) for value in (True, "true")]
    records = (trained(model, 0.01, 0.5).model_copy(update={"action": form}) for model, form in enumerate(forms))
    ((action,),) = (row.actions for row in table_of(*MODELS, *records).rows)
    assert (action.object, action.value, action.n) == ("trainable", True, 2)


def test_actions_stand_in_the_order_of_their_gains():
    (row,) = table_of(*MODELS, trained(0, 0.001, 0.1), trained(0, 0.01, 0.5)).rows
    assert [action.value for action in row.actions] == [0.01, 0.001]
    assert row.actions[0].standard_deviation is None  # of a single model


def test_a_smaller_score_is_a_gain_when_minimising():
    measured = gains(settings(optimize_mode="minimize"), [*MODELS, trained(0, 0.01, 0.1)])
    assert measured[0].gain == pytest.approx(0.1)


def test_a_failure_counts_as_a_fall_to_the_worst_seed_model():
    (row,) = table_of(*MODELS, trained(1, 0.01, None, error="NaN")).rows
    (action,) = row.actions
    assert (action.mean_gain, action.n, action.n_failures) == (pytest.approx(-0.2), 1, 1)


def test_a_failure_is_a_fall_to_the_largest_loss_when_minimising():
    (measured,) = gains(settings(optimize_mode="minimize"), [*MODELS, trained(0, 0.01, None, error="NaN")])
    assert (measured.gain, measured.has_failed) == (pytest.approx(-0.2), True)


def test_a_gain_counts_in_the_condition_of_its_seed_model():
    """The changed model is a plain network, as all that ``trained`` makes."""
    resnet = {"block_type": {"_name": "resnet"}, "learning_rate": 0.1}
    seed_model = MODELS[1].model_copy(update={"parameters": resnet})
    rows = table_of(MODELS[0], seed_model, trained(1, 0.01, 0.7), trained(0, 0.01, 0.5)).rows
    assert [(row.condition, row.actions[0].mean_gain) for row in rows] == [("OA-NC-NG-NW", 0.3), ("RA-NC-NG-NW", 0.3)]


def test_conditions_follow_the_thresholds_which_the_table_tells():
    """A gradient ratio of 1 vanishes where less than 2 does."""
    records, thresholds = [*MODELS, trained(0, 0.01, 0.5)], Thresholds(vanishing_ratio=2.0)
    table = measure_table(settings(), records, task="toy", thresholds=thresholds)
    assert table.rows[0].condition == "OA-NC-VG-NW"
    assert table.provenance.thresholds["vanishing_ratio"] == 2.0


def test_what_was_changed_on_a_failed_model_is_left_out():
    lost = trained(2, 0.1, None, is_action=False, error="NaN")
    assert [
        gain.model for gain in gains(settings(), [*MODELS, lost, trained(2, 0.01, 0.9), trained(0, 0.01, 0.5)])
    ] == [0]


def test_says_where_it_comes_from():
    made = table_of(*MODELS, trained(0, 0.01, 0.5)).provenance
    assert (made.data, made.trial_commands, made.seeds) == (("toy",), ("python3 toy.py",), (0,))
    assert (made.n_models, made.n_trainings, made.n_failures, made.hours) == (1, 3, 0, 1.5)
    assert made.date == "2026-01-02"
    assert made.thresholds["min_improvement"] == 0.01
    assert "numpy" in made.versions


def test_counts_what_failed_also_seed_models():
    lost = trained(2, 0.1, None, is_action=False, error="NaN")
    made = table_of(*MODELS, lost, trained(0, 0.01, None, error="NaN"), trained(1, 0.01, 0.5)).provenance
    assert (made.n_models, made.n_trainings, made.n_failures) == (2, 5, 2)


def test_nothing_measured_is_an_error():
    with pytest.raises(RecordsError, match="no action was trained yet on a seed model that has a score"):
        table_of(*MODELS)
