"""Parameters that do nothing: where it was seen, and how far it is believed elsewhere."""

import pytest

from nni_dream.search.actions import all_actions
from nni_dream.search.inert import N_SHOWN, InertParameters
from nni_dream.search.space import SearchSpace

LAYERS = {"_type": "choice", "_value": [0, 1, 2]}
UNITS = {"_type": "choice", "_value": [16, 64, 256]}
RATES = {"_type": "choice", "_value": [0.1, 0.01]}
DROPOUTS = {"_type": "choice", "_value": [0.0, 0.5]}
OPTIMIZERS = {"_type": "choice", "_value": [{"_name": "adam"}, {"_name": "sgd", "momentum": DROPOUTS}]}
SPACE = SearchSpace({"layers": LAYERS, "units": UNITS, "rate": RATES, "dropout": DROPOUTS, "optimizer": OPTIMIZERS})
WITHOUT_LAYERS = {"layers": 0, "units": 16, "rate": 0.1, "dropout": 0.0, "optimizer": {"_name": "adam"}}


def relevance(inert, candidate, name="units", space=SPACE):
    """Of the actions on a parameter, which is the same for all of them."""
    actions = [action for action in all_actions(space, candidate) if action.parameter.name == name]
    (found,) = set(inert.relevances(candidate, actions))
    return found


@pytest.fixture
def inert():
    """Other units made no difference where there are no layers."""
    inert = InertParameters(SPACE)
    inert.learn(WITHOUT_LAYERS, {**WITHOUT_LAYERS, "units": 64})
    return inert


def test_nothing_is_known_at_first():
    assert relevance(InertParameters(SPACE), WITHOUT_LAYERS) == 1


@pytest.mark.parametrize("units", [16, 64, 256])
def test_it_does_nothing_where_all_else_is_the_same(inert, units):
    assert relevance(inert, {**WITHOUT_LAYERS, "units": units}) == 0


def test_of_other_parameters_nothing_is_known(inert):
    assert relevance(inert, WITHOUT_LAYERS, "rate") == 1


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({"layers": 1}, 1 / 4),
        ({"layers": 1, "rate": 0.01}, 2 / 4),
        ({"layers": 1, "rate": 0.01, "dropout": 0.5}, 3 / 4),
        ({"optimizer": {"_name": "sgd", "momentum": 0.0}}, 2 / 5),  # another optimizer, and a momentum
    ],
)
def test_it_matters_as_probably_as_the_parameter_that_makes_it_inert_was_changed(inert, changes, share):
    assert relevance(inert, {**WITHOUT_LAYERS, **changes}) == pytest.approx(share)


def test_the_most_similar_configuration_counts(inert):
    other = {**WITHOUT_LAYERS, "rate": 0.01, "dropout": 0.5}
    inert.learn(other, {**other, "units": 256})
    assert relevance(inert, WITHOUT_LAYERS) == 0
    assert relevance(inert, other) == 0
    assert relevance(inert, {**other, "layers": 2}) == pytest.approx(1 / 4)


def test_what_lies_inside_it_is_inert_with_it():
    inert = InertParameters(SPACE)
    inert.learn(WITHOUT_LAYERS, {**WITHOUT_LAYERS, "optimizer": {"_name": "sgd", "momentum": 0.5}})
    with_momentum = {**WITHOUT_LAYERS, "optimizer": {"_name": "sgd", "momentum": 0.0}}
    for candidate in (WITHOUT_LAYERS, with_momentum):
        assert relevance(inert, candidate, "optimizer") == relevance(inert, candidate, "momentum") < 1


def test_a_parameter_that_only_one_of_both_has_is_not_judged():
    inert = InertParameters(SPACE)
    sgd = {**WITHOUT_LAYERS, "optimizer": {"_name": "sgd", "momentum": 0.5}}
    inert.learn({**WITHOUT_LAYERS, "dropout": 0.5}, {**sgd, "dropout": 0.0})
    assert relevance(inert, WITHOUT_LAYERS, "dropout") < 1
    assert relevance(inert, WITHOUT_LAYERS, "units") == 1


def test_a_configuration_without_the_parameter(inert):
    """A space that grew in mid-run: nothing is known of how a new parameter and the others go together."""
    assert relevance(inert, {"layers": 0, "rate": 0.1}) == 1


def test_the_only_parameter_of_a_space():
    space = SearchSpace({"units": UNITS})
    inert = InertParameters(space)
    inert.learn({"units": 16}, {"units": 64})
    assert relevance(inert, {"units": 256}, space=space) == 0


def test_only_the_latest_are_remembered():
    space = SearchSpace({"units": UNITS, "seed": {"_type": "randint", "_value": [0, 1000]}})
    inert = InertParameters(space)
    for seed in range(N_SHOWN + 1):
        inert.learn({"units": 16, "seed": seed}, {"units": 64, "seed": seed})
    assert relevance(inert, {"units": 16, "seed": 0}, space=space) == 1
    assert relevance(inert, {"units": 16, "seed": 1}, space=space) == 0
