"""Conditions: the rules of the method, section 2, each with its boundary."""

import math

import pytest

from nni_dream.config import Thresholds
from nni_dream.feedback import EpochFeedback, TrialFeedback
from nni_dream.search.conditions import (
    Architecture,
    Condition,
    Convergence,
    Gradient,
    Weight,
    diagnose,
    diagnose_architecture,
    diagnose_convergence,
    diagnose_epoch_gradient,
    diagnose_gradient,
    diagnose_weight,
    has_improved,
)

THRESHOLDS = Thresholds()


def epochs_of(**columns):
    """One epoch for each place of the columns, all equally long."""
    rows = zip(*columns.values(), strict=True)
    return [EpochFeedback(epoch=i, **dict(zip(columns, row, strict=True))) for i, row in enumerate(rows)]


# --- architecture


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"block_type": "resnet"}, "RA"),
        ({"block_type": "efficient"}, "EA"),
        ({"block_type": "xception"}, "XA"),
        ({"block_type": "ngram"}, "NA"),
        ({"block_type": "transformer"}, "TA"),
        ({"block_type": "vanilla"}, "OA"),
        ({"block_type": "N-Gram"}, "NA"),
        ({"block_type": "n_gram"}, "NA"),
        ({"model": "ResNet50_v2"}, "RA"),
        ({"model_name": "tf_efficientnet_b0"}, "EA"),
        ({"backbone": "legacy_xception"}, "XA"),
        ({"ARCH": "resnet18"}, "RA"),
        ({"architecture": "resnet"}, "RA"),
        ({"model_type": "Transformer-XL"}, "TA"),
        ({"network": "resnet"}, "RA"),
        ({"net": "resnet"}, "RA"),
        ({"pretrained_on": "resnet"}, None),  # says nothing about this network
        ({"model": "custom", "backbone": "resnet"}, "RA"),
        ({"model": "xception", "backbone": "resnet"}, "XA"),  # the first that is known
        ({"model": 3}, None),  # a number names no network
        ({"model": "vgg"}, "OA"),
        ({"MODEL.ENCODER": "resnet50"}, "RA"),
        ({"model": None}, None),
        ({"model": ["resnet"]}, "RA"),
        ({"block_type": {"_name": "resnet", "version": "b7"}}, "RA"),
        ({"block_type": {"_name": "vanilla", "net": {"_name": "xception"}}}, "XA"),
        ({"encoder": {"_name": "image", "backbone": "efficientnet"}}, "EA"),
        ({"encoder": {"backbone": "efficientnet"}}, "EA"),
        ({"lr": 0.1}, None),
        ({}, None),
        (None, None),
        ([1], None),
    ],
    ids="{!s:.40}".format,
)
def test_architecture_of_parameters(parameters, expected):
    assert diagnose_architecture(parameters) is (None if expected is None else Architecture(expected))


@pytest.mark.parametrize(
    ("parameters", "roles", "expected"),
    [
        ({"kind": "resnet18"}, {"kind": "architecture"}, "RA"),
        ({"part": {"_name": "a", "kind": "xception"}}, {"part.kind": "architecture"}, "XA"),
        ({"model": "resnet18"}, {"model": "augmentation"}, None),
    ],
)
def test_what_the_user_states_says_which_parameter_is_the_architecture(parameters, roles, expected):
    found = diagnose(TrialFeedback(), parameters, "maximize", roles=roles).architecture
    assert found is (None if expected is None else Architecture(expected))


@pytest.mark.parametrize(
    ("told", "expected"), [("XA", "XA"), ("OA", "OA"), (None, "RA"), ("resnet", "RA"), ("", "RA"), ("*", "RA")]
)
def test_what_the_trial_tells_of_its_architecture_counts_if_it_is_known(told, expected):
    condition = diagnose(TrialFeedback(architecture=told), {"block_type": "resnet"}, "maximize")
    assert condition.architecture is Architecture(expected)


# --- convergence


@pytest.mark.parametrize(
    ("val_score", "expected"),
    [
        pytest.param([0.1, 0.3, 0.5, 0.6], "NC", id="rises"),
        pytest.param([0.1, 0.1, 0.1, 0.1], "SC", id="flat"),
        pytest.param([0.5, 0.4, 0.3, 0.2], "SC", id="falls"),
        pytest.param([0.5, 0.2, 0.5, 0.2], "NC", id="swings"),
        pytest.param([0.5, 0.5, 0.5, 0.51], "NC", id="rises by exactly 0.01"),
        pytest.param([0.1, 0.11, 0.11, 0.11], "NC", id="0.11 - 0.1 is a little less than 0.01 in binary"),
        pytest.param([0.5, 0.5099, 0.5, 0.5], "SC", id="rises by less than 0.01"),
        pytest.param([0.5, 0.509, 0.518, 0.527], "SC", id="0.01 only over two epochs"),
        pytest.param([0.1, 0.1, 0.1], "NC", id="three epochs are too few"),
        pytest.param([0.1], "NC", id="one epoch is too few"),
        pytest.param([0.5, None, 0.9, None], "SC", id="no two contiguous epochs known"),
        pytest.param([None, None, 0.5, 0.6], "NC", id="known from the third epoch on"),
        pytest.param([None] * 4, "SC", id="no score at all"),
        pytest.param([0.0, 0.0, 0.0, 0.0], "SC", id="zeros"),
    ],
)
def test_convergence_of_a_validation_score(val_score, expected):
    assert diagnose_convergence(epochs_of(val_score=val_score), "maximize", THRESHOLDS) is Convergence(expected)


def test_convergence_is_unknown_without_epochs():
    assert diagnose_convergence([], "maximize", THRESHOLDS) is None


def test_epochs_that_are_not_kept_are_no_improvement():
    """Of a long training the journal has the first and the last 250 epochs."""
    epochs = [*epochs_of(val_score=[0.1, 0.1, 0.1, 0.9, 0.9, 0.9])]
    assert diagnose_convergence(epochs, "maximize", THRESHOLDS) is Convergence.NORMAL
    epochs[3:] = [epoch.model_copy(update={"epoch": epoch.epoch + 100}) for epoch in epochs[3:]]
    assert diagnose_convergence(epochs, "maximize", THRESHOLDS) is Convergence.SLOW


def test_an_improvement_in_training_alone_is_enough():
    epochs = epochs_of(train_score=[0.1, 0.2, 0.2, 0.2], val_score=[0.1] * 4)
    assert diagnose_convergence(epochs, "maximize", THRESHOLDS) is Convergence.NORMAL


def test_a_falling_loss_is_no_improvement_of_a_score_to_maximize():
    epochs = epochs_of(train_loss=[4.0, 3.0, 2.0, 1.0], val_score=[0.1] * 4)
    assert diagnose_convergence(epochs, "maximize", THRESHOLDS) is Convergence.SLOW


@pytest.mark.parametrize(
    ("val_loss", "expected"),
    [
        pytest.param([10.0, 9.9, 9.9, 9.9], "NC", id="falls by exactly 1 %"),
        pytest.param([10.0, 9.91, 9.91, 9.91], "SC", id="falls by less than 1 %"),
        pytest.param([1000.0, 999.0, 998.0, 997.0], "SC", id="falls by 0.1 %"),
        pytest.param([1e-8, 0.999e-8, 0.998e-8, 0.997e-8], "SC", id="a small loss falls by 0.1 %"),
        pytest.param([1e-9, 0.99e-9, 0.99e-9, 0.99e-9], "NC", id="a small loss falls by 1 %"),
        pytest.param([-1.0, -1.01, -1.01, -1.01], "NC", id="a negative loss falls by 1 %"),
        pytest.param([-1.0, -1.009, -1.009, -1.009], "SC", id="a negative loss falls by less"),
        pytest.param([0.0, 0.0, 0.0, 0.0], "SC", id="zero stays zero"),
        pytest.param([1.0, 2.0, 3.0, 4.0], "SC", id="rises"),
    ],
)
@pytest.mark.parametrize("column", ["val_loss", "val_score", "train_loss", "train_score"])
def test_convergence_of_a_regression_is_relative(val_loss, expected, column):
    epochs = epochs_of(**{column: val_loss})
    assert diagnose_convergence(epochs, "minimize", THRESHOLDS) is Convergence(expected)


def test_a_regression_score_goes_before_the_loss():
    epochs = epochs_of(val_score=[1.0] * 4, val_loss=[4.0, 3.0, 2.0, 1.0])
    assert not has_improved(epochs, "minimize", THRESHOLDS)


@pytest.mark.parametrize("n_epochs", [1, 4])
@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"val_loss": 99_999.0}, "NC"),
        ({"val_loss": 1e5}, "SC"),
        ({"val_loss": 1e6}, "SC"),
        ({"train_loss": 1e6}, "NC"),  # the rule asks for the validation loss
        ({"n_nonfinite_losses": 1}, "SC"),
    ],
    ids="{!s:.40}".format,
)
def test_a_lost_loss_is_slow_however_short_the_training(n_epochs, last, expected):
    epochs = [EpochFeedback(epoch=i, val_score=0.1 * i) for i in range(n_epochs - 1)]
    epochs.append(EpochFeedback(epoch=n_epochs - 1, **last))
    assert diagnose_convergence(epochs, "maximize", THRESHOLDS) is Convergence(expected)


def test_a_lost_loss_of_the_first_epoch_is_not_forgotten():
    epochs = [EpochFeedback(epoch=0, n_nonfinite_losses=1), *epochs_of(val_score=[0.1, 0.2, 0.3, 0.4])]
    assert diagnose_convergence(epochs, "maximize", THRESHOLDS) is Convergence.SLOW


@pytest.mark.parametrize(("min_epochs", "expected"), [(3, "SC"), (4, "NC")])
def test_the_number_of_epochs_is_a_setting(min_epochs, expected):
    thresholds = Thresholds(min_convergence_epochs=min_epochs)
    epochs = epochs_of(val_score=[0.1] * 3)
    assert diagnose_convergence(epochs, "maximize", thresholds) is Convergence(expected)


# --- gradients


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"gradient_ratio": 1.0, "dead_unit_share": 0.0}, "NG"),
        ({"gradient_ratio": 1e-3}, "NG"),
        ({"gradient_ratio": math.nextafter(1e-3, 0)}, "VG"),
        ({"gradient_ratio": 0.0}, "VG"),
        ({"gradient_ratio": 70.0}, "NG"),
        ({"gradient_ratio": math.nextafter(70.0, 71)}, "EG"),
        ({"dead_unit_share": 0.70}, "DG"),
        ({"dead_unit_share": math.nextafter(0.70, 0)}, "NG"),
        ({"dead_unit_share": 1.0}, "DG"),
        ({"n_nonfinite_gradients": 1}, "EG"),
        ({"n_nonfinite_gradients": 1, "dead_unit_share": 1.0, "gradient_ratio": 0.0}, "EG"),  # non-finite first
        ({"dead_unit_share": 0.70, "gradient_ratio": 0.0}, "DG"),  # then dying
        ({"dead_unit_share": 0.70, "gradient_ratio": 100.0}, "DG"),
        ({"zero_gradient_share": 1.0, "gradient_ratio": 1.0}, "NG"),  # zero entries are not dead units
    ],
    ids="{!s:.40}".format,
)
def test_gradient_of_an_epoch(numbers, expected):
    assert diagnose_epoch_gradient(EpochFeedback(epoch=0, **numbers), THRESHOLDS) is Gradient(expected)


@pytest.mark.parametrize(
    "numbers", [{}, {"val_score": 0.5, "gradient_norm": 1.0, "zero_gradient_share": 0.9}], ids="{!s:.40}".format
)
def test_gradient_of_an_epoch_that_was_not_measured(numbers):
    assert diagnose_epoch_gradient(EpochFeedback(epoch=0, **numbers), THRESHOLDS) is None


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.0, 1.0], "NG"),
        ([1.0, 100.0, 1e-5], "EG"),
        ([1.0, 1e-5, 100.0], "VG"),
        ([None, 1e-5, 1.0], "VG"),
        ([None, 1.0], "NG"),
        ([None, None], None),
        ([], None),
    ],
    ids="{!s:.40}".format,
)
def test_gradient_of_a_trial_is_its_first_abnormal_epoch(ratios, expected):
    found = diagnose_gradient(epochs_of(gradient_ratio=ratios), THRESHOLDS)
    assert found is (None if expected is None else Gradient(expected))


# --- weights


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ([], None),
        ([{}], None),
        ([{"weight_norm": 3.0}], "NW"),
        ([{"weight_norm": 3.0}, {}], "NW"),
        ([{"weight_norm": 3.0}, {"n_nonfinite_weights": 1}, {"weight_norm": 3.0}], "EW"),
        ([{"n_nonfinite_weights": 1}], "EW"),
        ([{"n_nonfinite_gradients": 1, "weight_norm": 3.0}], "NW"),
    ],
    ids="{!s:.40}".format,
)
def test_weight(epochs, expected):
    found = diagnose_weight([EpochFeedback(epoch=i, **numbers) for i, numbers in enumerate(epochs)])
    assert found is (None if expected is None else Weight(expected))


# --- the whole condition


def test_a_whole_condition():
    epochs = epochs_of(val_score=[0.1] * 4, gradient_ratio=[1.0, 1e-4, 1.0, 1.0], weight_norm=[1.0] * 4)
    feedback = TrialFeedback(epochs=tuple(epochs))
    assert str(diagnose(feedback, {"block_type": "resnet"}, "maximize")) == "RA-SC-VG-NW"


def test_a_trial_that_reports_its_score_alone_leaves_the_rest_unknown():
    feedback = TrialFeedback(epochs=(EpochFeedback(epoch=0, val_score=0.5),))
    assert str(diagnose(feedback, {}, "maximize")) == "*-NC-*-*"
    assert str(diagnose(feedback, {"model": "vgg"}, "maximize")) == "OA-NC-*-*"


def test_a_trial_without_feedback_is_unknown():
    assert str(diagnose(TrialFeedback(), {"model": "xception"}, "minimize")) == "XA-*-*-*"


def test_thresholds_are_settings():
    feedback = TrialFeedback(epochs=(EpochFeedback(epoch=0, dead_unit_share=0.4),))
    assert str(diagnose(feedback, {}, "maximize", Thresholds(dead_unit_share=0.4))) == "*-NC-DG-*"


@pytest.mark.parametrize("text", ["OA-NC-NG-NW", "RA-SC-VG-EW", "*-*-*-*", "TA-*-DG-*", "*-SC-EG-NW"])
def test_a_condition_is_read_as_it_is_written(text):
    assert str(Condition.parse(text)) == text


def test_a_condition_is_read_part_by_part():
    expected = Condition(Architecture.EFFICIENTNET, Convergence.SLOW, Gradient.DYING, Weight.EXPLODING)
    assert Condition.parse("EA-SC-DG-EW") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ZA-NC-NG-NW", r"condition 'ZA-NC-NG-NW': unknown architecture 'ZA', expected one of RA, EA, XA, NA, TA, OA"),
        ("OA-XC-NG-NW", r"unknown convergence 'XC', expected one of SC, NC"),
        ("OA-NC-vg-NW", r"unknown gradient 'vg', expected one of VG, EG, DG, NG"),
        ("OA-NC-NG-", r"unknown weight '', expected one of EW, NW"),
        ("OA-NC-NG", r"condition 'OA-NC-NG' has 3 parts, expected 4, such as OA-NC-NG-NW"),
        ("OA-NC-NG-NW-NW", r"has 5 parts"),
        ("", r"condition '' has 1 parts"),
    ],
    ids=lambda text: text if text.count("-") < 5 and " " not in text else "",
)
def test_a_wrong_condition_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        Condition.parse(text)


@pytest.mark.parametrize(
    ("coarse", "fine", "expected"),
    [
        ("OA-NC-NG-NW", "OA-NC-NG-NW", True),
        ("OA-NC-NG-NW", "OA-NC-NG-EW", False),
        ("OA-NC-*-*", "OA-NC-EG-EW", True),
        ("OA-NC-*-*", "OA-SC-EG-EW", False),
        ("*-*-*-*", "XA-SC-EG-EW", True),
        ("*-*-NG-*", "XA-SC-NG-*", True),
        ("OA-NC-NG-NW", "OA-NC-NG-*", False),  # what is unknown there is not known to be the same
    ],
)
def test_covers(coarse, fine, expected):
    assert Condition.parse(coarse).covers(Condition.parse(fine)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OA-NC-NG-NW", ["OA-NC-NG-NW", "OA-NC-NG-*", "OA-NC-*-*", "OA-*-*-*", "*-*-*-*"]),
        ("OA-NC-*-*", ["OA-NC-*-*", "OA-*-*-*", "*-*-*-*"]),
        ("*-*-NG-NW", ["*-*-NG-NW", "*-*-NG-*", "*-*-*-*"]),
        ("*-*-*-*", ["*-*-*-*"]),
    ],
)
def test_coarser_leaves_out_weight_then_gradient_then_convergence_then_architecture(text, expected):
    assert [str(condition) for condition in Condition.parse(text).coarser()] == expected
