"""Stop rules: each at its boundary, and the reason that it gives."""

import pytest

from nni_dream.config import AssessorSettings, Thresholds
from nni_dream.feedback import EpochFeedback, TrialFeedback
from nni_dream.search.stopping import score_at_epoch, stop_reason

DEFAULT = AssessorSettings()
HEALTHY = {"gradient_ratio": 1.0, "dead_unit_share": 0.0, "weight_norm": 1.0}
VANISHING = {"gradient_ratio": 1e-5}
EXPLODING = {"gradient_ratio": 100.0}
DYING = {"dead_unit_share": 0.9}


def trial(*epochs, planned_epochs=None):
    """A trial from one dict of numbers for each epoch."""
    numbered = tuple(EpochFeedback(epoch=index, **numbers) for index, numbers in enumerate(epochs))
    return TrialFeedback(epochs=numbered, planned_epochs=planned_epochs)


def flat(n, score=0.1, **numbers):
    """A trial of n epochs whose score does not move."""
    return trial(*[{"val_score": score, **numbers}] * n, planned_epochs=20)


def curves(*last_scores, n=20):
    """The epochs of finished trials, each with one score all along."""
    return [flat(n, score).epochs for score in last_scores]


def stop(feedback, best=(), settings=DEFAULT):
    return stop_reason(feedback, best, settings)


def test_a_trial_without_epochs_goes_on():
    assert stop(TrialFeedback()) is None


def test_a_healthy_trial_goes_on():
    assert stop(trial(*[{"val_score": 0.1 * i, **HEALTHY} for i in range(8)]), curves(0.9, 0.9, 0.9)) is None


# --- non-finite


@pytest.mark.parametrize(
    ("last", "text"),
    [
        ({"n_nonfinite_weights": 1}, "non-finite weights in epoch 2"),
        ({"n_nonfinite_losses": 2}, "non-finite loss in epoch 2"),
        ({"n_nonfinite_weights": 5, "n_nonfinite_losses": 2}, "non-finite weights in epoch 2"),
    ],
    ids="{!s:.40}".format,
)
def test_non_finite_numbers_stop_at_once(last, text):
    reason = stop(trial({"val_score": 0.1}, {"val_score": 0.5}, last))
    assert (reason.rule, reason.text, reason.epoch) == ("non-finite", text, 2)
    assert reason.numbers == {
        "n_nonfinite_weights": last.get("n_nonfinite_weights", 0),
        "n_nonfinite_losses": last.get("n_nonfinite_losses", 0),
    }


def test_of_several_epochs_that_arrive_at_once_the_first_broken_one_is_named():
    broken = {"n_nonfinite_weights": 7}
    reason = stop(trial({"n_nonfinite_losses": 1}, {"val_loss": 1.0}, {**broken, "n_nonfinite_losses": 2}, broken))
    assert (reason.text, reason.epoch) == ("non-finite weights in epoch 2", 2)
    assert reason.numbers == {"n_nonfinite_weights": 7, "n_nonfinite_losses": 2}


def test_the_first_epoch_can_stop():
    assert stop(trial({"n_nonfinite_weights": 1})).epoch == 0


def test_a_loss_that_came_back_goes_on():
    assert stop(trial({"n_nonfinite_losses": 1}, {"val_loss": 1.0})) is None


def test_non_finite_gradients_alone_go_on():
    assert stop(trial({"n_nonfinite_gradients": 1})) is None  # mixed precision skips such a step


def test_a_loss_without_weights_goes_before_the_other_rules():
    reason = stop(flat(8, n_nonfinite_losses=1, **VANISHING))
    assert reason.rule == "non-finite"


# --- gradients


@pytest.mark.parametrize(
    ("numbers", "rule"),
    [
        (VANISHING, "vanishing gradients"),
        (EXPLODING, "exploding gradients"),
        ({"n_nonfinite_gradients": 3}, "exploding gradients"),
        (DYING, "dying gradients"),
    ],
    ids="{!s:.40}".format,
)
@pytest.mark.parametrize(("n_epochs", "stops"), [(3, False), (4, True), (5, True)])
def test_a_gradient_problem_stops_after_the_patience(numbers, rule, n_epochs, stops):
    reason = stop(flat(n_epochs, **numbers))
    assert (reason is not None) is stops
    if reason is not None:
        assert reason.rule == rule
        assert reason.text == f"{rule} for 4 epochs without improvement"
        assert reason.epoch == n_epochs - 1


def test_the_numbers_of_a_gradient_stop():
    assert stop(flat(4, **VANISHING)).numbers == {
        "patience": 4,
        "gradient_ratio": 1e-5,
        "n_nonfinite_gradients": 0,
        "vanishing_ratio": 1e-3,
        "exploding_ratio": 70.0,
        "dead_unit_share_threshold": 0.70,
    }


@pytest.mark.parametrize(
    "epochs",
    [
        pytest.param([VANISHING, VANISHING, HEALTHY, VANISHING, VANISHING], id="healthy between"),
        pytest.param([VANISHING, VANISHING, EXPLODING, EXPLODING], id="two problems"),
        pytest.param([VANISHING, VANISHING, {}, VANISHING], id="not measured between"),
        pytest.param([VANISHING, VANISHING, VANISHING, VANISHING, HEALTHY], id="over"),
        pytest.param([{}] * 8, id="never measured"),
        pytest.param([HEALTHY] * 8, id="healthy"),
    ],
)
def test_only_the_same_problem_in_each_of_the_last_epochs_stops(epochs):
    assert stop(trial(*[{"val_score": 0.1, **numbers} for numbers in epochs])) is None


def test_a_healthy_start_does_not_save_a_trial():
    feedback = trial(*[{"val_score": 0.1, **numbers} for numbers in [HEALTHY] * 3 + [DYING] * 4])
    assert stop(feedback).rule == "dying gradients"


@pytest.mark.parametrize(
    ("scores", "stops"),
    [
        pytest.param([0.1, 0.1, 0.1, 0.1, 0.1], True, id="flat"),
        pytest.param([0.1, 0.1, 0.1, 0.1, 0.11], False, id="last of the patience improves"),
        pytest.param([0.1, 0.2, 0.2, 0.2, 0.2], False, id="first of the patience improves"),
        pytest.param([0.1, 0.2, 0.2, 0.2, 0.2, 0.2], True, id="improvement is older than the patience"),
        pytest.param([0.1, 0.109, 0.118, 0.127, 0.136], True, id="never by 0.01 at once"),
    ],
)
def test_an_improvement_within_the_patience_lets_a_trial_go_on(scores, stops):
    feedback = trial(*[{"val_score": score, **VANISHING} for score in scores])
    assert (stop(feedback) is not None) is stops


def test_an_improvement_in_training_counts_too():
    feedback = trial(*[{"val_score": 0.1, "train_score": 0.1 * i, **VANISHING} for i in range(6)])
    assert stop(feedback) is None


def test_an_improvement_of_a_regression_is_a_falling_loss():
    feedback = trial(*[{"val_loss": 10.0 - i, **VANISHING} for i in range(6)])
    assert stop(feedback, settings=AssessorSettings(optimize_mode="minimize")) is None
    assert stop(feedback, settings=AssessorSettings(optimize_mode="maximize")).rule == "vanishing gradients"


@pytest.mark.parametrize(("patience", "n_epochs", "stops"), [(1, 1, True), (2, 1, False), (2, 2, True), (9, 8, False)])
def test_the_patience_is_a_setting(patience, n_epochs, stops):
    reason = stop(flat(n_epochs, **DYING), settings=AssessorSettings(patience=patience, slow_share=1.0))
    assert (reason is not None) is stops


def test_the_thresholds_are_settings():
    settings = AssessorSettings(thresholds=Thresholds(dead_unit_share=0.95))
    assert stop(flat(4, **DYING), settings=settings) is None


# --- slow convergence


@pytest.mark.parametrize(("n_epochs", "stops"), [(9, False), (10, False), (11, True)])
def test_a_slow_trial_may_go_on_up_to_its_share_of_the_epochs(n_epochs, stops):
    reason = stop(flat(n_epochs), curves(0.5, 0.5, 0.5))  # planned: 20, share: 0.5
    assert (reason is not None) is stops


@pytest.mark.parametrize(
    ("share", "planned"), [(0.29, 100), (0.57, 100), (0.07, 100), (0.1, 40), (0.35, 20), (0.7, 10), (1.0, 7)]
)
def test_the_share_is_exact_in_decimals(share, planned):
    settings = AssessorSettings(slow_share=share)
    n = round(share * planned)
    at, beyond = (flat(epochs).model_copy(update={"planned_epochs": planned}) for epochs in (n, n + 1))
    best = curves(0.5, 0.5, 0.5, n=200)
    assert stop(at, best, settings) is None
    assert stop(beyond, best, settings) is not None


def test_a_share_of_zero_lets_four_epochs_pass():
    settings = AssessorSettings(slow_share=0.0)
    assert stop(flat(3), curves(0.5, 0.5, 0.5), settings) is None  # too few to be slow
    assert stop(flat(4), curves(0.5, 0.5, 0.5), settings) is not None


@pytest.mark.parametrize(
    ("told", "setting", "stops"),
    [(20, None, True), (None, 20, True), (None, None, False), (40, 20, False), (20, 40, True)],
)
def test_the_trials_own_number_of_epochs_goes_before_the_setting(told, setting, stops):
    feedback = flat(11).model_copy(update={"planned_epochs": told})
    reason = stop(feedback, curves(0.5, 0.5, 0.5), AssessorSettings(planned_epochs=setting))
    assert (reason is not None) is stops


@pytest.mark.parametrize(
    ("references", "stops"),
    [
        ([], False),
        ([0.9, 0.9], False),  # fewer than three
        ([0.9, 0.9, 0.9], True),
        ([0.9, 0.2, 0.05], True),  # the median counts
        ([0.9, 0.05, 0.05], False),
        ([0.1, 0.1, 0.1], False),  # as good as they were
        ([0.1001, 0.1001, 0.1001], True),
        ([0.9, 0.9, None], False),  # a trial without scores is no reference
        ([0.0, 0.05, 0.15, 0.9], False),  # median 0.1
    ],
    ids="{!s:.40}".format,
)
def test_a_slow_trial_is_compared_with_the_median_of_the_best(references, stops):
    assert (stop(flat(11), curves(*references)) is not None) is stops


@pytest.mark.parametrize(
    ("references", "stops"),
    [([0.05, 0.05, 0.05], True), ([0.1, 0.1, 0.1], False), ([0.5, 0.5, 0.5], False)],
    ids="{!s:.40}".format,
)
def test_a_slow_regression_is_compared_the_other_way_round(references, stops):
    settings = AssessorSettings(optimize_mode="minimize")
    assert (stop(flat(11), curves(*references), settings) is not None) is stops


def test_references_count_up_to_the_same_epoch():
    late = trial(*[{"val_score": 0.05}] * 11, *[{"val_score": 0.9}] * 9).epochs
    assert stop(flat(11), [late, late, late]) is None
    early = trial(*[{"val_score": 0.05}] * 10, {"val_score": 0.9}).epochs
    assert stop(flat(11), [early, early, early]) is not None


def test_the_number_of_references_is_a_setting():
    assert stop(flat(11), curves(0.9), AssessorSettings(n_reference_trials=1)) is not None
    assert stop(flat(11), curves(0.9, 0.9, 0.9), AssessorSettings(n_reference_trials=4)) is None


def test_a_trial_that_converges_goes_on_however_bad():
    feedback = trial(*[{"val_score": 0.001 * i} for i in range(10)], {"val_score": 0.03}, planned_epochs=20)
    assert stop(feedback, curves(0.9, 0.9, 0.9)) is None


def test_a_trial_without_scores_goes_on():
    assert stop(flat(11, None), curves(0.9, 0.9, 0.9)) is None


def test_the_reason_and_the_numbers_of_a_slow_stop():
    reason = stop(flat(11, 0.123456), curves(0.5, 0.654321, 0.9))
    assert reason.rule == "slow convergence"
    assert reason.text == "slow convergence: 0.1235 after 11 of 20 epochs, the best 3 trials had 0.6543"
    assert reason.epoch == 10
    assert reason.numbers == {
        "score": 0.123456,
        "reference_score": 0.654321,
        "n_reference_trials": 3,
        "n_epochs": 11,
        "planned_epochs": 20,
        "slow_share": 0.5,
        "min_improvement": 0.01,
    }


@pytest.mark.parametrize(
    ("mode", "best", "name", "threshold"),
    [("maximize", 0.5, "min_improvement", 0.02), ("minimize", 0.05, "min_relative_improvement", 0.03)],
)
def test_a_slow_stop_names_the_threshold_that_it_was_measured_by(mode, best, name, threshold):
    thresholds = Thresholds(min_improvement=0.02, min_relative_improvement=0.03)
    reason = stop(flat(11), curves(best, best, best), AssessorSettings(optimize_mode=mode, thresholds=thresholds))
    told = {key: value for key, value in reason.numbers.items() if key.startswith("min_")}
    assert told == {name: threshold}


@pytest.mark.parametrize(
    ("epoch", "largest", "smallest"), [(0, 0.3, 0.3), (1, 0.3, 0.1), (2, 0.3, 0.1), (3, 0.5, 0.1), (9, 0.5, 0.1)]
)
def test_score_at_epoch_is_the_best_up_to_and_including_it(epoch, largest, smallest):
    epochs = trial({"val_score": 0.3}, {"val_score": 0.1}, {}, {"val_score": 0.5}).epochs
    assert score_at_epoch(epochs, epoch, "maximize") == largest
    assert score_at_epoch(epochs, epoch, "minimize") == smallest


def test_score_at_epoch_before_the_first_score():
    assert score_at_epoch(trial({}, {"val_score": 0.5}).epochs, 0, "maximize") is None
