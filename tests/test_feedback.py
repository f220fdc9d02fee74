"""Feedback: the message that a trial sends, as strict JSON, and what is read back from it."""

import json
import math
from itertools import pairwise

import pytest
from pydantic import ValidationError

from nni_dream.feedback import (
    CHART_KEYS,
    COUNT_KEYS,
    MAX_FINAL_EPOCHS,
    MAX_LAYERS,
    EpochFeedback,
    FeedbackError,
    LayerFeedback,
    TrialFeedback,
    best_score,
    epoch_metric,
    final_metric,
    final_score,
    finite_or_none,
    is_same_training,
    parse_metric,
    score_of,
    score_text,
    thin_layers,
)

NAN, INFINITY = math.nan, math.inf


def layers(n, *, named=True):
    """Numbers of n layers that tell which layer they belong to."""
    numbers = [float(index) for index in range(n)]
    return LayerFeedback(
        names=[f"layer{index}" for index in range(n)] if named else None,
        gradient_norms=numbers,
        zero_gradient_shares=[None] * n,
        dead_unit_shares=numbers,
        weight_norms=numbers,
        update_ratios=numbers,
    )


def full_epoch(index=0):
    return EpochFeedback(
        epoch=index,
        train_loss=1.5,
        val_loss=None,
        train_score=0.5,
        val_score=0.25,
        n_nonfinite_losses=1,
        learning_rate=0.01,
        seconds=2.0,
        gradient_norm=3.0,
        gradient_ratio=0.5,
        dead_unit_share=0.0,
        zero_gradient_share=0.125,
        weight_norm=7.0,
        update_ratio=0.001,
        n_nonfinite_weights=2,
        n_nonfinite_gradients=3,
        n_layers=2,
        layers=layers(2),
    )


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (None, "-"),
        (0.0, "0.0000"),
        (0.98765, "0.9877"),
        (-12.3456, "-12.3456"),
        (0.001, "0.0010"),
        (8.1234e-6, "8.123e-06"),  # a loss that four decimals would hide
        (-0.00099, "-0.00099"),
        (99999.0, "99999.0000"),
        (100000.0, "1e+05"),
        (123456.7, "1.235e+05"),
        (math.nan, "nan"),
    ],
)
def test_a_score_is_shown_with_four_decimals_where_they_tell_it(score, text):
    assert score_text(score) == text


def through_the_channel(metric):
    """What arrives on the other side; refuses what is not strict JSON, as a web page does."""
    return json.loads(json.dumps(metric, allow_nan=False))


# --- what a trial sends


def test_an_epoch_survives_the_round_trip():
    feedback = TrialFeedback(
        parameters={"learning_rate": 0.1}, architecture="RA", planned_epochs=15, epochs=(full_epoch(3),)
    )
    metric = through_the_channel(epoch_metric(feedback, 0.25))
    assert metric["default"] == 0.25
    assert parse_metric(metric) == feedback


def test_a_final_result_survives_the_round_trip_without_layers():
    epochs = (full_epoch(0), full_epoch(1))
    feedback = TrialFeedback(parameters={"learning_rate": 0.1}, planned_epochs=2, epochs=epochs)
    metric = through_the_channel(final_metric(feedback, 0.25, epochs[1]))
    expected = tuple(epoch.model_copy(update={"layers": None}) for epoch in epochs)
    assert metric["n_epochs"] == 2
    assert parse_metric(metric) == feedback.model_copy(update={"epochs": expected})


def test_chart_numbers_stand_flat_beside_the_score():
    metric = epoch_metric(TrialFeedback(epochs=(full_epoch(),)), 0.25)
    assert set(metric) - {"default", "dream"} == set(CHART_KEYS) - {"val_loss"}  # val_loss is unknown here
    assert metric["n_nonfinite_weights"] == 2


def test_a_final_result_shows_the_numbers_of_the_best_epoch():
    best = EpochFeedback(epoch=0, val_score=0.75, train_loss=0.5)
    feedback = TrialFeedback(epochs=(best, EpochFeedback(epoch=1, val_score=0.5, train_loss=0.25)))
    metric = final_metric(feedback, 0.75, best)
    assert metric["val_score"] == 0.75
    assert metric["train_loss"] == 0.5


def test_a_final_result_without_a_best_epoch_has_counts_alone():
    metric = final_metric(TrialFeedback(), 0.0, None)
    assert set(metric) == {"default", "n_epochs", "dream", *COUNT_KEYS}
    assert [metric[key] for key in COUNT_KEYS] == [0, 0, 0]


def test_a_final_result_shows_the_largest_counts_of_any_epoch():
    best = EpochFeedback(epoch=0, val_score=0.75)
    first, last = ({"n_nonfinite_weights": 7}, {"n_nonfinite_weights": 2, "n_nonfinite_gradients": 3})
    epochs = (best, EpochFeedback(epoch=1, **first), EpochFeedback(epoch=2, **last))
    metric = final_metric(TrialFeedback(epochs=epochs), 0.75, best)
    assert [metric[key] for key in COUNT_KEYS] == [0, 7, 3]


def test_parameters_that_are_none_are_kept():
    parameters = {"scheduler": None, "layers": [None, {"units": None}]}
    metric = through_the_channel(epoch_metric(TrialFeedback(parameters=parameters, epochs=(full_epoch(),)), 0.5))
    assert parse_metric(metric).parameters == parameters


@pytest.mark.parametrize("n_epochs", [0, 2])
def test_an_intermediate_metric_holds_exactly_one_epoch(n_epochs):
    feedback = TrialFeedback(epochs=tuple(EpochFeedback(epoch=index) for index in range(n_epochs)))
    with pytest.raises(ValueError, match="unpack"):
        epoch_metric(feedback, 0.5)


@pytest.mark.parametrize(
    ("n_epochs", "sent"),
    [
        (MAX_FINAL_EPOCHS - 1, range(499)),
        (MAX_FINAL_EPOCHS, range(500)),
        (MAX_FINAL_EPOCHS + 1, [*range(250), *range(251, 501)]),
        (2000, [*range(250), *range(1750, 2000)]),
    ],
)
def test_a_final_result_holds_the_first_and_the_last_250_epochs(n_epochs, sent):
    epochs = tuple(EpochFeedback(epoch=index, val_score=0.5) for index in range(n_epochs))
    metric = final_metric(TrialFeedback(epochs=epochs), 0.5, epochs[0])
    assert [epoch.epoch for epoch in parse_metric(metric).epochs] == list(sent)
    assert metric["n_epochs"] == n_epochs


def test_the_largest_messages_fit_nnis_channels():
    number = -1.234e-05  # as long as four significant digits get
    numbers = [number] * 1000
    many = LayerFeedback(
        names=["n" * 56] * 1000,
        gradient_norms=numbers,
        zero_gradient_shares=numbers,
        dead_unit_shares=numbers,
        weight_norms=numbers,
        update_ratios=numbers,
    )
    first = full_epoch().model_copy(update={"layers": thin_layers(many)})
    later = full_epoch().model_copy(update={"layers": thin_layers(many.model_copy(update={"names": None}))})
    final = TrialFeedback(epochs=tuple(full_epoch(index) for index in range(2000)))
    assert len(json.dumps(epoch_metric(TrialFeedback(epochs=(first,)), 0.5))) < 20_000
    assert len(json.dumps(epoch_metric(TrialFeedback(epochs=(later,)), 0.5))) < 20_000
    assert len(json.dumps(final_metric(final, 0.5, first))) < 200_000


@pytest.mark.parametrize("metric", [epoch_metric, lambda *args: final_metric(*args, None)], ids=["epoch", "final"])
def test_every_value_of_a_message_is_a_number_or_text(metric):
    """An object in a metric, shown as a column, takes NNI's web page down."""
    message = metric(TrialFeedback(parameters={"a": {"b": 1}}, epochs=(full_epoch(),)), 0.5)
    assert {type(value) for value in message.values()} <= {int, float, str}
    assert json.dumps(message).isascii()


# --- numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.123449, 0.1234),
        (0.12346, 0.1235),
        (123456.0, 123500.0),
        (-1.23456e-12, -1.235e-12),
        (0.0, 0.0),
        (7, 7.0),
        (1e300, 1e300),
        (None, None),
        (NAN, None),
        (INFINITY, None),
        (-INFINITY, None),
    ],
)
def test_finite_or_none_keeps_four_significant_digits(value, expected):
    assert finite_or_none(value) == expected


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("val_loss", NAN, "finite number"),
        ("gradient_ratio", INFINITY, "finite number"),
        ("epoch", -1, "greater than or equal to 0"),
        ("n_nonfinite_weights", -1, "greater than or equal to 0"),
    ],
)
def test_an_epoch_refuses(field, value, words):
    with pytest.raises(ValidationError, match=words):
        EpochFeedback(**{"epoch": 0, field: value})


@pytest.mark.parametrize("n", [0, 1, MAX_LAYERS - 1, MAX_LAYERS])
def test_few_layers_are_kept_as_they_are(n):
    assert thin_layers(layers(n)) == layers(n)


@pytest.mark.parametrize("n", [MAX_LAYERS + 1, 2 * MAX_LAYERS, 1000])
def test_many_layers_are_thinned_evenly_with_both_ends(n):
    thin = thin_layers(layers(n))
    kept = [int(number) for number in thin.gradient_norms]
    assert len(kept) == MAX_LAYERS == 160
    assert (kept[0], kept[-1]) == (0, n - 1)
    steps = {later - earlier for earlier, later in pairwise(kept)}
    assert min(steps) >= 1
    assert max(steps) - min(steps) <= 1
    assert thin.names == [f"layer{index}" for index in kept]
    assert thin.weight_norms == thin.update_ratios == thin.dead_unit_shares == thin.gradient_norms
    assert thin.zero_gradient_shares == [None] * MAX_LAYERS


def test_unnamed_layers_stay_unnamed():
    assert thin_layers(layers(200, named=False)).names is None


# --- what is read back


@pytest.mark.parametrize(
    "metric",
    [0.5, None, "0.5", [0.5], {}, {"default": 0.5}, NAN],
    ids=["number", "none", "text", "list", "empty", "dict", "nan"],
)
def test_a_metric_of_others_has_no_feedback(metric):
    assert parse_metric(metric) is None


def test_keys_of_a_later_minor_change_are_passed_over():
    content = {"version": 1, "mood": "good", "epochs": [{"epoch": 0, "val_score": 0.5, "mood": "good"}]}
    assert parse_metric({"dream": json.dumps(content)}) == TrialFeedback(
        epochs=(EpochFeedback(epoch=0, val_score=0.5),)
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"version": 2}, r"dream\.version: Input should be 1; expected feedback of version 1"),
        ("yes", r"dream: Input should be an object; expected feedback of version 1"),
        (None, r"dream: Input should be an object"),
        ({"epochs": [{"val_score": 0.5}]}, r"dream\.epochs\.0\.epoch: Field required"),
        ({"epochs": [{"epoch": 0}, {"epoch": 1, "val_loss": "low"}]}, r"dream\.epochs\.1\.val_loss: .*valid number"),
        ({"epochs": [{"epoch": 0, "val_loss": NAN}]}, r"dream\.epochs\.0\.val_loss: .*finite number"),
        ({"epochs": [{"epoch": 0, "layers": {}}]}, r"dream\.epochs\.0\.layers\.gradient_norms: Field required"),
        ({"parameters": [1]}, r"dream\.parameters: Input should be an object"),
        ({"planned_epochs": 0}, r"dream\.planned_epochs: .*greater than or equal to 1"),
    ],
    ids=["version", "text", "null", "no-epoch", "text-loss", "nan", "no-layers", "parameters", "planned"],
)
def test_a_foreign_feedback_is_refused_by_name(content, words):
    with pytest.raises(FeedbackError, match=words):
        parse_metric({"default": 0.5, "dream": json.dumps(content)})


@pytest.mark.parametrize("content", ["", "yes", '{"version": 1', {"version": 1}, 1, None], ids=repr)
def test_what_is_not_json_text_is_refused(content):
    with pytest.raises(FeedbackError, match=r"dream: .*JSON.*; expected feedback of version 1"):
        parse_metric({"default": 0.5, "dream": content})


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (0.5, 0.5),
        (3, 3.0),
        (0, 0.0),
        (-1.5, -1.5),
        ({"default": 0.5, "loss": 2.0}, 0.5),
        ({"default": 1}, 1.0),
        (True, None),
        (False, None),
        ({"default": True}, None),
        ("0.5", None),
        ({"default": "0.5"}, None),
        (NAN, None),
        ({"default": NAN}, None),
        (INFINITY, None),
        (-INFINITY, None),
        (10**308, 1e308),
        (10**400, None),  # JSON knows no largest integer, a float does
        ({"default": -(10**400)}, None),
        ({"default": {"default": 0.5}}, None),
        ({"__ndarray__": 0.5, "dtype": "float32", "shape": []}, 0.5),  # np.array(0.5), as NNI writes it
        ({"default": {"__ndarray__": 1, "dtype": "int64", "shape": []}}, 1.0),
        ({"__ndarray__": NAN, "dtype": "float64", "shape": []}, None),
        ({"__ndarray__": True, "dtype": "bool", "shape": []}, None),
        ({"__ndarray__": [0.5], "dtype": "float64", "shape": [1]}, None),
        ({"shape": []}, None),
        ({"default": [0.5]}, None),
        ({"loss": 0.5}, None),
        ({}, None),
        ([0.5], None),
        (None, None),
    ],
    ids=lambda value: f"{value!r:.24}",
)
def test_score_of(metric, expected):
    score = score_of(metric)
    assert score == expected
    assert score is None or type(score) is float


@pytest.mark.parametrize(
    ("scores", "largest", "smallest"),
    [
        ([], None, None),
        ([None, None], None, None),
        ([0.25], 0.25, 0.25),
        ([0.25, None, 0.75, 0.5], 0.75, 0.25),
        ([0.0, None], 0.0, 0.0),
        ([-2.0, -1.0], -1.0, -2.0),
    ],
)
def test_best_score(scores, largest, smallest):
    epochs = [EpochFeedback(epoch=index, val_score=score) for index, score in enumerate(scores)]
    assert best_score(epochs, "maximize") == largest
    assert best_score(epochs, "minimize") == smallest


@pytest.mark.parametrize(
    ("metric", "scores", "mode", "expected"),
    [
        (0.0, [None, None], "maximize", None),  # the monitor's word for no score at all
        (1e10, [None], "minimize", None),
        (1e10, [None], "maximize", 1e10),
        (0.0, [None], "minimize", 0.0),
        (0.0, [None, 0.0], "maximize", 0.0),
        (0.0, [], "maximize", 0.0),  # a trial that reports its score alone
        (0.5, [None], "maximize", 0.5),
        (NAN, [0.5], "maximize", None),
    ],
)
def test_a_final_score_is_none_where_the_trial_never_had_one(metric, scores, mode, expected):
    epochs = [EpochFeedback(epoch=index, val_score=score) for index, score in enumerate(scores)]
    assert final_score({"default": metric}, epochs, mode) == expected


# --- merging


def scores(feedback):
    return {epoch.epoch: epoch.val_score for epoch in feedback.epochs}


def trial(*numbered_scores, **fields):
    return TrialFeedback(
        epochs=tuple(EpochFeedback(epoch=index, val_score=score) for index, score in numbered_scores), **fields
    )


def test_merging_unites_the_epochs_in_order_and_keeps_its_own():
    merged = trial((4, 0.4), (1, 0.1)).merge(trial((0, 0.9), (1, 0.9), (3, 0.9)))
    assert list(scores(merged).items()) == [(0, 0.9), (1, 0.1), (3, 0.9), (4, 0.4)]


@pytest.mark.parametrize("index", range(5))
def test_one_more_epoch_takes_its_place(index):
    known = [(0, 0.9), (1, 0.9), (3, 0.9)]
    merged = trial((index, 0.1)).merge(trial(*known))
    assert list(scores(merged).items()) == sorted({**dict(known), index: 0.1}.items())
    assert len(merged.epochs) == len(scores(merged))


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ({"parameters": {"a": 1}}, {"parameters": {"a": 2}}, {"parameters": {"a": 1}}),
        ({}, {"parameters": {"a": 2}}, {"parameters": {"a": 2}}),
        ({"parameters": {}}, {"parameters": {"a": 2}}, {"parameters": {}}),  # a trial without parameters says so
        ({"architecture": "RA"}, {"architecture": "XA"}, {"architecture": "RA"}),
        ({}, {"architecture": "XA"}, {"architecture": "XA"}),
        ({"planned_epochs": 5}, {"planned_epochs": 9}, {"planned_epochs": 5}),
        ({}, {"planned_epochs": 9}, {"planned_epochs": 9}),
        ({"optimize_mode": "minimize"}, {"optimize_mode": "maximize"}, {"optimize_mode": "minimize"}),
        ({}, {"optimize_mode": "minimize"}, {"optimize_mode": "minimize"}),
    ],
)
def test_merging_prefers_what_it_says_itself(own, other, expected):
    assert TrialFeedback(**own).merge(TrialFeedback(**other)) == TrialFeedback(**expected)


def test_merging_with_nothing_changes_nothing():
    feedback = trial((0, 0.5), (1, 0.6), parameters={"a": 1}, architecture="RA", planned_epochs=2)
    assert feedback.merge(TrialFeedback()) == TrialFeedback().merge(feedback) == feedback


# --- the same training


def curve(n_epochs=3, **numbers):
    told = {"train_loss": 1.5, "val_loss": 1.7, "train_score": 0.4, "val_score": 0.3, "gradient_norm": 2.0} | numbers
    return TrialFeedback(epochs=tuple(EpochFeedback(epoch=index, **told) for index in range(n_epochs)))


def test_the_same_numbers_are_the_same_training_however_long_it_took():
    assert is_same_training(curve(seconds=1.0), curve(seconds=2.0))


@pytest.mark.parametrize(
    "name", ["train_loss", "val_loss", "train_score", "val_score", "gradient_norm", "weight_norm", "update_ratio"]
)
def test_one_other_number_is_another_training(name):
    assert not is_same_training(curve(), curve(**{name: 0.1}))


def test_another_number_of_epochs_is_another_training():
    assert not is_same_training(curve(3), curve(4))


@pytest.mark.parametrize("name", ["train_loss", "val_loss", "gradient_norm"])
def test_a_loss_or_a_gradient_is_needed(name):
    """Equal scores, also of every epoch, say nothing: of 100 images there are 101 scores."""
    nothing = {"train_loss": None, "val_loss": None, "gradient_norm": None}
    assert not is_same_training(curve(**nothing), curve(**nothing))
    assert is_same_training(curve(**{**nothing, name: 1.0}), curve(**{**nothing, name: 1.0}))


def test_trials_without_epochs_are_not_the_same():
    assert not is_same_training(TrialFeedback(), TrialFeedback())
