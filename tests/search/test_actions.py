"""Actions: one value changes, and what stands around it stays sound."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_dream.search.actions import (
    Action,
    PresentValues,
    action_text,
    all_actions,
    apply_action,
    apply_partial,
    meant_values,
    table_actions,
)
from nni_dream.search.parameters import Choice, Premise
from nni_dream.search.space import SearchSpace, SearchSpaceError


def choice(*values):
    return {"_type": "choice", "_value": list(values)}


PRETRAINED = choice({"_name": True, "trainable": choice(True, False)}, {"_name": False})

SPACE = SearchSpace(
    {
        "block_type": choice(
            {"_name": "vanilla", "filters_0_0": choice(16, 256), "dropout": choice(0.0, 0.25)},
            {"_name": "resnet", "pretrained": PRETRAINED, "version": choice("resnet50", "resnet101")},
            {"_name": "efficient", "pretrained": PRETRAINED, "version": choice("b0", "b7")},
        ),
        "optimizer": choice({"_name": "adam"}, {"_name": "sgd", "momentum": choice(0.0, 0.9)}),
        "dropout": choice(0.25, 0.5),
        "learning_rate": {"_type": "loguniform", "_value": [1e-5, 1.0]},
    }
)
VANILLA = {
    "block_type": {"_name": "vanilla", "filters_0_0": 16, "dropout": 0.0},
    "optimizer": {"_name": "adam"},
    "dropout": 0.5,
    "learning_rate": 0.01,
}
RESNET = {
    **VANILLA,
    "block_type": {"_name": "resnet", "pretrained": {"_name": True, "trainable": False}, "version": "resnet101"},
}


def no_fill(parameter):
    raise AssertionError(f"{parameter.path} should not need a value")


def first(parameter):
    return parameter.action_values()[0]


def last(parameter):
    return parameter.action_values()[-1]


def find(path, value, space=SPACE, **premises):
    """The action at a dotted path that sets the value; premises tell branches apart."""
    (action,) = [
        action
        for action in all_actions(space, {})
        if ".".join(action.parameter.path) == path
        and action.value == value
        and type(action.value) is type(value)
        and premises.items() <= {premise.path[-1]: premise.value for premise in action.parameter.premises}.items()
    ]
    return action


# --- applying


def test_an_action_changes_its_value_and_nothing_else():
    assert apply_action(find("dropout", 0.25), VANILLA, SPACE, no_fill) == {**VANILLA, "dropout": 0.25}


def test_premises_are_made_true():
    configuration = apply_action(find("optimizer.momentum", 0.9), VANILLA, SPACE, no_fill)
    assert configuration == {**VANILLA, "optimizer": {"_name": "sgd", "momentum": 0.9}}


def test_premises_of_premises_are_made_true():
    candidate = {**RESNET, "block_type": {**RESNET["block_type"], "pretrained": {"_name": False}}}
    action = find("block_type.pretrained.trainable", True, block_type="resnet")
    configuration = apply_action(action, candidate, SPACE, no_fill)
    assert configuration["block_type"]["pretrained"] == {"_name": True, "trainable": True}
    assert configuration["block_type"]["version"] == "resnet101"


def test_what_is_no_longer_active_is_dropped():
    candidate = {**VANILLA, "optimizer": {"_name": "sgd", "momentum": 0.9}}
    configuration = apply_action(find("optimizer", "adam"), candidate, SPACE, no_fill)
    assert configuration["optimizer"] == {"_name": "adam"}


def test_a_value_of_the_same_name_carries_over_to_the_next_block_type():
    configuration = apply_action(find("block_type", "efficient"), RESNET, SPACE, last)
    assert configuration["block_type"]["pretrained"] == {"_name": True, "trainable": False}


def test_a_value_that_does_not_fit_the_next_block_type_is_filled():
    configuration = apply_action(find("block_type", "efficient"), RESNET, SPACE, last)
    assert configuration["block_type"]["version"] == "b7"


def test_a_value_of_the_same_name_carries_over_from_another_place():
    candidate = {**RESNET, "dropout": 0.25}
    configuration = apply_action(find("block_type", "vanilla"), candidate, SPACE, first)
    assert configuration["block_type"] == {"_name": "vanilla", "filters_0_0": 16, "dropout": 0.25}


def test_the_first_of_several_values_of_the_same_name_carries_over():
    sizes = {"size": choice(1, 2, 3)}
    space = SearchSpace(
        {"a": choice({"_name": "x", **sizes}), "b": choice({"_name": "x", **sizes})}
        | {"c": choice({"_name": "off"}, {"_name": "on", **sizes})}
    )
    candidate = {"a": {"_name": "x", "size": 3}, "b": {"_name": "x", "size": 2}, "c": {"_name": "off"}}
    configuration = apply_action(find("c", "on", space), candidate, space, first)
    assert configuration == {**candidate, "c": {"_name": "on", "size": 3}}


def test_a_value_of_the_same_name_that_does_not_fit_is_filled():
    configuration = apply_action(find("block_type", "vanilla"), {**RESNET, "dropout": 0.5}, SPACE, last)
    assert configuration["block_type"]["dropout"] == 0.25  # 0.5 is no dropout of a vanilla block


def test_newly_active_parameters_are_filled_and_no_others():
    filled = []

    def fill(parameter):
        filled.append(".".join(parameter.path))
        return parameter.action_values()[0]

    apply_action(find("block_type", "resnet"), VANILLA, SPACE, fill)
    assert filled == ["block_type.pretrained", "block_type.pretrained.trainable", "block_type.version"]


def test_the_candidate_is_not_modified():
    candidate = copy.deepcopy(RESNET)
    for action in all_actions(SPACE, candidate):
        configuration = apply_action(action, candidate, SPACE, last)
        configuration["block_type"]["version"] = "changed"
        assert candidate == RESNET


def test_a_candidate_of_an_older_space_is_mended():
    old = {"optimizer": {"_name": "rmsprop", "momentum": 0.9}, "dropout": 0.9, "batch_size": 3}
    configuration = apply_action(find("block_type", "vanilla"), old, SPACE, last)
    SPACE.check(configuration)
    assert configuration["dropout"] == 0.5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_the_result_lies_in_the_space_and_has_the_value(seed, data):
    rng = np.random.default_rng(seed)
    candidate = SPACE.sample(rng)
    action = data.draw(st.sampled_from(all_actions(SPACE, candidate)))
    configuration = apply_action(action, candidate, SPACE, lambda parameter: parameter.sample(rng))
    SPACE.check(configuration)
    values = {parameter.path: value for parameter, value in SPACE.active_values(configuration)}
    assert values[action.parameter.path] == action.value
    assert all(values[premise.path] == premise.value for premise in action.parameter.premises)


# --- premises


@pytest.mark.parametrize(
    ("action", "candidate", "expected"),
    [
        (find("optimizer.momentum", 0.9), VANILLA, None),  # no change of the architecture
        (find("block_type.filters_0_0", 256), VANILLA, None),
        (find("block_type.filters_0_0", 256), RESNET, Premise(("block_type",), "vanilla")),
        (find("block_type.version", "b7"), RESNET, Premise(("block_type",), "efficient")),
        (find("block_type.version", "b7"), {}, Premise(("block_type",), "efficient")),
        (find("block_type.version", "resnet50"), RESNET, None),
        (find("block_type.pretrained.trainable", True, block_type="resnet"), RESNET, None),
        (
            find("block_type.pretrained.trainable", True, block_type="resnet"),
            VANILLA,
            Premise(("block_type",), "resnet"),
        ),
        (find("block_type", "resnet"), VANILLA, None),  # the architecture itself is an action like any other
    ],
)
def test_only_a_change_of_the_architecture_is_an_obstacle(action, candidate, expected):
    present = PresentValues(candidate, SPACE)
    assert present.unmet_architecture(action) == expected
    assert present.why_pointless(action) == (None if expected is None else f"needs {expected}")


def test_what_is_so_already_is_pointless():
    present = PresentValues(VANILLA, SPACE)
    assert present.why_pointless(find("block_type", "vanilla")) == "is so already"
    assert present.why_pointless(find("block_type", "resnet")) is None


# --- what an action is called


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.01, "o=0.01"),
        (1.0, "o=1.0"),
        (1e-05, "o=1e-05"),
        (10**-3.5, "o=0.000316228"),
        (True, "o=true"),
        ("xception", "o=xception"),
        (None, "o=null"),
        (3, "o=3"),
        ([3, 3], "o=[3, 3]"),
    ],
)
def test_an_action_is_written_as_in_the_paper(value, expected):
    assert action_text("o", value) == expected


def test_an_action_says_what_it_does():
    assert str(find("block_type.filters_0_0", 256)) == "filters=256"


def test_every_option_is_an_action_and_a_range_offers_steps_from_its_present_value():
    texts = [str(action) for action in all_actions(SPACE, VANILLA)]
    assert texts[:3] == ["block_type=vanilla", "block_type=resnet", "block_type=efficient"]
    rates = [text for text in texts if text.startswith("learning_rate=")]
    assert rates == ["learning_rate=0.1", "learning_rate=0.001", "learning_rate=0.0316228", "learning_rate=0.00316228"]
    assert sum(text.startswith("trainable=") for text in texts) == 4  # two places, two values


def test_a_range_without_a_present_value_offers_five_that_are_spread_over_it():
    texts = [str(action) for action in all_actions(SPACE, {})]
    assert sum(text.startswith("learning_rate=") for text in texts) == 5


def test_keys_tell_every_action_from_every_other():
    actions = all_actions(SPACE, VANILLA)
    assert len({action.key for action in actions}) == len(actions)


def test_the_key_of_an_action_does_not_depend_on_the_other_options():
    smaller = SearchSpace({"optimizer": choice({"_name": "sgd", "momentum": choice(0.9)})})
    assert find("optimizer.momentum", 0.9, smaller).key == find("optimizer.momentum", 0.9).key


@pytest.mark.parametrize(("one", "other", "equal"), [(1, 1.0, True), (1, True, False), (0, False, False)])
def test_keys_compare_values_as_json_does(one, other, equal):
    parameter = Choice(("x",), (), ())
    assert (Action(parameter, one).key == Action(parameter, other).key) is equal


# --- what a priority table means


NAMES_OF_OTHERS = SearchSpace(
    {
        "optimizer/lr": {"_type": "loguniform", "_value": [1e-5, 0.05]},
        "optim": choice("SGD", "AdamW", "torch.optim.Adam"),
        "backbone": choice("resnet18", "ResNet50", "xception41", "vgg16"),
        "act_func": choice("ReLU", "leaky_relu"),
        "conv_dropout": {"_type": "uniform", "_value": [0, 0.5]},
        "n_layers": choice(1, 2, 3),
        "channels_0_1": choice(64, 256),
        "init": choice("kaiming_uniform", "no"),
        "pretrained": choice({"_name": "true", "trainable": choice("True", "False")}, {"_name": "false"}),
    }
)


@pytest.mark.parametrize(
    ("object_", "value", "expected"),
    [
        ("learning_rate", 0.01, ["optimizer/lr=0.01"]),
        ("learning_rate", 0.1, []),  # beyond the range
        ("optimizer", "sgd", ["optim=SGD"]),
        ("optimizer", "adam_weight_decay", ["optim=AdamW"]),
        ("optimizer", "adam", ["optim=torch.optim.Adam"]),
        ("optimizer", "nadam", []),
        ("block_type", "resnet", ["backbone=resnet18", "backbone=ResNet50"]),
        ("block_type", "xception", ["backbone=xception41"]),
        ("block_type", "vanilla", []),
        ("activation", "relu", ["act_func=ReLU"]),
        ("initializer", "he_uniform", ["init=kaiming_uniform"]),
        ("dropout", 0.25, ["conv_dropout=0.25"]),  # there is no other dropout
        ("num_layers", 2, ["n_layers=2"]),
        ("num_blocks", 2, []),  # the depth, too, but another one
        ("filters", 256, ["channels_0_1=256"]),
        ("pretrained", True, ["pretrained=true"]),
        ("trainable", True, ["trainable=True"]),
        ("separable", True, []),
    ],
)
def test_a_table_finds_its_parameters_by_role_and_its_values_by_meaning(object_, value, expected):
    actions = table_actions(object_, value, NAMES_OF_OTHERS)
    assert [action_text(action.parameter.name, action.value) for action in actions] == expected


def test_a_parameter_of_the_tables_own_name_goes_before_the_role():
    space = SearchSpace({"dropout": choice(0.0, 0.25), "conv_dropout": choice(0.0, 0.25)})
    assert [action.parameter.name for action in table_actions("dropout", 0.25, space)] == ["dropout"]
    assert [action.parameter.name for action in table_actions("conv_dropout", 0.25, space)] == ["conv_dropout"]


@pytest.mark.parametrize(
    "object_",
    "block_type trainable imagenet_size version learning_rate momentum optimizer filters end_learning_rate separable"
    " num_blocks num_layers pretrained".split(),
)
def test_every_object_of_the_paper_finds_the_parameter_of_its_name(object_):
    values = {"learning_rate": 0.01, "end_learning_rate": 1e-5, "momentum": 0.1, "filters": 256, "num_blocks": 3}
    value = values.get(object_, 2 if object_ == "num_layers" else "some")
    space = SearchSpace({"a/b": choice({"_name": "x", object_: choice(value)})})
    assert [action.value for action in table_actions(object_, value, space)] == [value]


def test_the_value_itself_goes_before_its_synonyms():
    space = SearchSpace({"optimizer": choice("SGD", "sgd", "Adam")})
    (optimizer,) = space.parameters
    assert list(meant_values(optimizer, "sgd")) == ["sgd"]
    assert list(meant_values(optimizer, "adam")) == ["Adam"]


# --- completing what a user gives


def test_a_partial_configuration_is_completed():
    given_ = {"optimizer": {"_name": "sgd"}, "dropout": 0.25}
    configuration = apply_partial(given_, SPACE, last)
    SPACE.check(configuration)
    assert configuration["optimizer"] == {"_name": "sgd", "momentum": 0.9}
    assert configuration["dropout"] == 0.25
    assert configuration["block_type"]["_name"] == "efficient"


def test_a_whole_configuration_stays_as_it_is():
    assert apply_partial(RESNET, SPACE, no_fill) == RESNET


def test_nothing_given_is_all_filled():
    SPACE.check(apply_partial({}, SPACE, last))


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"lr": 0.1}, r"parameter 'lr' is not in the search space"),
        ({"dropout": 0.9}, r"parameter 'dropout' is 0\.9, expected one of 0\.25, 0\.5"),
        ({"optimizer": {"_name": "rmsprop"}}, r"parameter 'optimizer' is \"rmsprop\", expected one of"),
        ({"optimizer": {"_name": "adam", "momentum": 0.9}}, r"parameter 'optimizer\.momentum' is not in the search"),
        ({"optimizer": {"_name": "sgd", "momentum": 0.5}}, r"parameter 'optimizer\.momentum' is 0\.5, expected one of"),
        ({"optimizer": {"momentum": 0.9}}, r"parameter 'optimizer' is \{'momentum': 0\.9\}, expected one of \"adam\""),
        ({"optimizer": "sgd"}, r"optimizer is \"sgd\", expected an object"),
        ({"_name": "sgd"}, r"parameter '_name' is not in the search space"),
        ({"learning_rate": None}, r"parameter 'learning_rate' is null, expected a number from 1e-05 to 1"),
        ([], r"configuration is \[\], expected an object"),
    ],
    ids="{!s:.40}".format,
)
def test_what_is_not_in_the_space_is_refused_by_name(given_, words):
    with pytest.raises(SearchSpaceError, match=words):
        apply_partial(given_, SPACE, last)


def test_a_part_of_a_plain_option_is_not_that_option():
    space = SearchSpace({"schedule": choice({"kind": "step", "every": 3})})
    with pytest.raises(SearchSpaceError, match=r"parameter 'schedule' is \{'kind': 'step'\}, expected one of"):
        apply_partial({"schedule": {"kind": "step"}}, space, last)
