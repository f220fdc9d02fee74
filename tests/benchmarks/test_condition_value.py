"""Whether conditions say something about gains: on trainings where they do, and on some where they do not."""

import condition_value
import numpy as np
import pytest
from comparison import bootstrap
from priority_building.example import settings

from nni_dream.feedback import EpochFeedback, TrialFeedback
from nni_dream.priority_building.records import TrainedAction, TrainingRecord

DROPOUTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
SPACE = {"dropout": {"_type": "choice", "_value": list(DROPOUTS)}}
N_EPOCHS = 6


def feedback(final, first, **numbers):
    epochs = tuple(
        EpochFeedback(epoch=i, val_score=first + (final - first) * i / (N_EPOCHS - 1), n_layers=3, **numbers)
        for i in range(N_EPOCHS)
    )
    return TrialFeedback(planned_epochs=N_EPOCHS, epochs=epochs)


def trainings(n_models, gain_of):
    """Models with the same parameters and the same score; every other one does not improve (SC), the rest do (NC)."""
    records = []
    for model in range(n_models):
        is_slow = model % 2 == 0
        own = feedback(0.5, 0.5 if is_slow else 0.1, gradient_ratio=1.0, dead_unit_share=0.0, weight_norm=1.0)
        original = {"model": model, "status": "succeeded", "feedback": own}
        records.append(TrainingRecord(parameters={"dropout": 0.0}, score=0.5, **original))
        for value in DROPOUTS[1:]:
            action = TrainedAction(key=f"dropout {value}", object="dropout", value=value)
            score = 0.5 + gain_of(value, is_slow)
            records.append(TrainingRecord(parameters={"dropout": value}, score=score, action=action, **original))
    return condition_value.Measured(settings(search_space=SPACE), records)


CONDITION = (condition_value.condition_features,)


def test_what_a_condition_decides_is_found_by_the_forest_that_knows_it():
    measured = trainings(24, lambda value, is_slow: value * (0.2 if is_slow else -0.2))
    blind, seeing = (condition_value.forest(measured, features) for features in ((), CONDITION))
    assert seeing.r2 > 0.9
    assert blind.r2 < 0.1
    assert seeing.correlations.mean() == pytest.approx(1.0)
    low, _ = bootstrap(seeing.first_gains - blind.first_gains)
    assert low > 0


def test_what_a_condition_does_not_decide_is_known_without_it():
    measured = trainings(24, lambda value, is_slow: 0.2 * value)
    blind, seeing = (condition_value.forest(measured, features) for features in ((), CONDITION))
    assert blind.r2 > 0.9
    assert bootstrap(seeing.first_gains - blind.first_gains) == (0.0, 0.0)


def test_gains_are_judged_model_by_model():
    measured = trainings(2, lambda value, is_slow: value * (0.2 if is_slow else -0.1))
    real = np.array([gain.gain for gain in measured.gains])
    perfect, reverse = measured.judge(real), measured.judge(-real)
    assert perfect.r2 == 1.0
    assert perfect.correlations == pytest.approx([1.0, 1.0])
    assert perfect.first_gains == pytest.approx([0.1, -0.01])
    assert reverse.correlations == pytest.approx([-1.0, -1.0])
    assert reverse.first_gains == pytest.approx([0.02, -0.05])


def test_equal_predictions_are_no_order():
    measured = trainings(2, lambda value, is_slow: value)
    assert measured.judge(np.zeros(len(measured.gains))).correlations == pytest.approx([0.0, 0.0])


def test_models_with_few_actions_are_left_out():
    measured = trainings(3, lambda value, is_slow: value)
    records = [record for record in measured.records if record.model != 1 or record.action is None]
    fewer = condition_value.Measured(measured.settings, [*records, measured.records[7]])
    assert len(fewer.judge(np.zeros(len(fewer.gains))).first_gains) == 2


def test_the_share_of_models_with_something_to_diagnose():
    measured = trainings(4, lambda value, is_slow: value)
    words = condition_value.what_is_not_normal(measured)
    assert words == "Something is not normal in 50% of the models, and in 100% of the best quarter."


def test_actions_without_effect_are_those_whose_whole_training_is_the_same():
    """Equal scores alone prove nothing, and neither do feedbacks without a loss or a gradient."""
    own = feedback(0.5, 0.1, train_loss=1.0)
    other = feedback(0.5, 0.1, train_loss=2.0)
    records = [
        TrainingRecord(
            model=0,
            parameters={"dropout": value},
            action=None if value == 0.0 else TrainedAction(key=f"dropout {value}", object="dropout", value=value),
            status="succeeded",
            score=score,
            feedback=seen,
        )
        for value, score, seen in ((0.0, 0.5, own), (0.1, 0.5, own), (0.2, 0.5, other), (0.3, 0.6, other))
    ]
    assert condition_value.without_effect(condition_value.Measured(settings(search_space=SPACE), records)) == (
        "Without effect: 1 of 3 actions (33.3%) left every loss, score and gradient of the training as it was; 2 left "
        "the score."
    )


def test_what_stopping_saves_and_loses():
    vanishing = feedback(0.5, 0.5, gradient_ratio=1e-6, dead_unit_share=0.0, weight_norm=1.0)
    healthy = feedback(0.9, 0.1, gradient_ratio=1.0, dead_unit_share=0.0, weight_norm=1.0)
    records = [
        TrainingRecord(model=0, parameters={"dropout": 0.0}, status="succeeded", score=0.9, feedback=healthy),
        TrainingRecord(model=1, parameters={"dropout": 0.1}, status="succeeded", score=0.5, feedback=vanishing),
    ]
    measured = condition_value.Measured(settings(search_space=SPACE), records)
    assert condition_value.stopping(measured) == (
        "Stopping: 1 of 2 trainings would have been stopped, which saves 16.7% of the epochs; 0 of them would have "
        "come out in the best quarter."
    )
