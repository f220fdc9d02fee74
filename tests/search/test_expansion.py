"""Expansion: a space gets what it lacks of the paper's 36 actions, and nothing that its trial would not understand."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from generated_spaces import CONTINUOUS_SPECS, FINITE_SPECS, choice, definitions, option, ranged
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_dream.search.actions import apply_partial
from nni_dream.search.additions import ADDITIONS, Group
from nni_dream.search.expansion import PlainOptions, expand
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import SearchSpace, SearchSpaceError

SPACES = Path(__file__).parents[2] / "experiment_configs" / "spaces"

MOMENTUM = choice(0.0, 0.1, 0.5, 0.9, 0.99)
END_LEARNING_RATE = choice(1e-4, 1e-5, 2e-6, 1e-6, 0.0)
WEIGHT_DECAY = choice(0.001, 0.005, 0.01, 0.05, 0.1)
STEP_1 = {
    "three_step": choice(True, False),
    "epoch_ratio": choice(0.1, 0.2, 0.3, 0.4, 0.5),
    "lr_ratio": choice(1.0, 0.1, 0.01),
    "freeze": choice("all", "no", "bn"),
}
TWO_STEP = choice(option("true", **STEP_1), option("false"))


def shipped(name):
    return json.loads((SPACES / f"{name}.json").read_text(encoding="utf-8"))


def places(expansion):
    return [".".join(added.parameter.path) for added in expansion.added]


def reasons(expansion):
    """object -> why it was left alone, each reason once."""
    found = {}
    for left in expansion.left_alone:
        found.setdefault(left.addition.object, []).append(left.reason)
    return found


def expanded(definition, plain_options=PlainOptions.KEPT, **arguments):
    return expand(definition, plain_options=plain_options, **arguments).definition


# --- Table 1


def test_the_table_has_the_36_actions_of_the_paper():
    counts = {group: sum(len(row.values) for row in ADDITIONS if row.group is group) for group in Group}
    assert counts == {Group.MODEL: 6, Group.OPTIMIZER: 15, Group.FINE_TUNING: 15}


def test_a_premise_stands_before_what_needs_it():
    objects = [row.object for row in ADDITIONS]
    for row in ADDITIONS:
        if row.premise[0] in objects:
            assert objects.index(row.premise[0]) < objects.index(row.object)


@pytest.mark.parametrize(("task", "n_actions"), [("image", 36), ("text", 21)])
def test_the_shipped_spaces_expand_to_the_shipped_expanded_ones(task, n_actions):
    expansion = expand(shipped(task), plain_options=PlainOptions.NESTED)
    assert json.dumps(expansion.definition) == json.dumps(shipped(f"{task}_expanded"))
    assert expansion.n_actions == n_actions


@pytest.mark.parametrize("plain_options", PlainOptions)
@pytest.mark.parametrize("name", ["image_expanded", "text_expanded"])
def test_a_space_that_has_the_actions_gets_none(name, plain_options):
    expansion = expand(shipped(name), plain_options=plain_options)
    assert expansion.definition == shipped(name)
    assert expansion.added == expansion.nested == ()
    assert expansion.n_actions == 0
    assert reasons(expansion)["momentum"] == ["parameter 'optimizer.momentum' is there already"]


# --- found by role, in the user's own spelling


@pytest.mark.parametrize("name", ["optimizer", "opt", "solver.optim", "what"])
@pytest.mark.parametrize("sgd", ["sgd", "SGD", "torch.optim.SGD"])
@pytest.mark.parametrize("adamw", ["adam_weight_decay", "AdamW", "adamw"])
def test_the_optimizer_in_any_spelling(name, sgd, adamw):
    definition = {name: choice(option(sgd), option("Adam"), option(adamw, eps=choice(1e-8)))}
    inside_adamw = {
        "eps": choice(1e-8),
        "end_learning_rate": END_LEARNING_RATE,
        "weight_decay_rate": WEIGHT_DECAY,
    }
    assert expanded(definition) == {
        name: choice(option(sgd, momentum=MOMENTUM), option("Adam"), option(adamw, **inside_adamw))
    }


def test_a_stated_role_counts_as_an_inferred_one():
    definition = {"trunk": choice(option("vanilla_cnn"), option("ResNet18"))}
    assert expanded(definition) == definition
    assert places(expand(definition, {"trunk": "architecture"})) == ["trunk.initializer", "trunk.activation"]


def test_every_option_that_the_premise_means_gets_it():
    definition = {"net": choice(option("vanilla_s"), option("vanilla_l"), option("mlp"))}
    small, large, other = expanded(definition)["net"]["_value"]
    assert list(small) == list(large) == ["_name", "initializer", "activation"]
    assert other == option("mlp")


def test_every_parameter_of_the_premise_gets_it():
    definition = {"generator_opt": choice(option("sgd")), "discriminator_opt": choice(option("sgd"), option("adam"))}
    expansion = expand(definition)
    assert places(expansion) == ["generator_opt.momentum", "discriminator_opt.momentum"]
    assert expansion.n_actions == 5


def test_added_parameters_are_told_with_their_premises():
    (added,) = expand({"opt": choice(option("SGD"))}).added
    assert added.addition.object == "momentum"
    assert added.parameter.action_values() == [0.0, 0.1, 0.5, 0.9, 0.99]
    assert str(added.premise) == 'opt="SGD"'
    assert added.is_conditional
    assert added.parameter.premises == (added.premise,)


# --- plain options: what trial code reads is not changed unasked


def test_plain_options_are_kept():
    definition = {"opt": choice("sgd", "adam", "adamw"), "lr": choice(0.1)}
    expansion = expand(definition)
    assert expansion.definition == definition
    assert expansion.added == expansion.nested == ()
    plain = ["the options of parameter 'opt' are plain values"]
    assert reasons(expansion) == {
        "momentum": plain,
        "end_learning_rate": plain,
        "weight_decay_rate": plain,
        "initializer": ["no parameter has the role architecture"],
        "activation": ["no parameter has the role architecture"],
        "two_step": ["no parameter is called 'trainable'"],
        **{name: ["no parameter is called 'two_step'"] for name in STEP_1},
    }
    could_be_added = [left.addition.object for left in expansion.left_alone if left.is_for_plain_options]
    assert could_be_added == ["momentum", "end_learning_rate", "weight_decay_rate"]


def test_plain_options_become_objects_where_that_is_asked():
    definition = {"opt": choice("sgd", "adam"), "lr": choice(0.1)}
    expansion = expand(definition, plain_options=PlainOptions.NESTED)
    assert expansion.definition == {"opt": choice(option("sgd", momentum=MOMENTUM), option("adam")), "lr": choice(0.1)}
    (nested,) = expansion.nested
    assert (nested.path, nested.option, nested.name) == (("opt",), "sgd", "sgd")


def test_an_option_that_is_there_twice_becomes_one_object():
    assert expanded({"opt": choice("sgd", "adam", "sgd")}, PlainOptions.NESTED) == {
        "opt": choice(option("sgd", momentum=MOMENTUM), option("adam"))
    }


def test_true_becomes_an_object_with_a_text_for_a_name():
    expansion = expand({"trainable": choice(True, False)}, plain_options=PlainOptions.NESTED)
    assert expansion.definition == {"trainable": choice(option("true", two_step=TWO_STEP), option("false"))}
    (nested,) = expansion.nested  # the new choice two_step is no change of the given space
    assert (nested.path, nested.option, nested.name) == (("trainable",), True, "true")


@pytest.mark.parametrize("other", [None, 3, ["adam"], {"name": "adam"}])
def test_options_that_cannot_name_an_object_are_kept_in_any_case(other):
    definition = {"optimizer": choice("sgd", other)}
    roles = {"optimizer": "optimizer"}
    expansion = expand(definition, roles, plain_options=PlainOptions.NESTED)
    assert expansion.definition == definition
    assert reasons(expansion)["momentum"] == [
        "parameter 'optimizer' has options other than texts, which cannot name an object"
    ]
    assert not any(left.is_for_plain_options for left in expansion.left_alone)
    assert places(expand(definition, roles, plain_options=PlainOptions.FLAT)) == ["momentum"]


def test_beside_plain_options_where_that_is_asked():
    definition = {"head": choice(option("big", opt=choice("SGD", "AdamW"), units=choice(8)))}
    expansion = expand(definition, plain_options=PlainOptions.FLAT)
    assert expansion.definition == {
        "head": choice(
            option(
                "big",
                opt=choice("SGD", "AdamW"),
                units=choice(8),
                momentum=MOMENTUM,
                end_learning_rate=END_LEARNING_RATE,
                weight_decay_rate=WEIGHT_DECAY,
            )
        )
    }
    assert expansion.nested == ()
    first = expansion.added[0]
    assert first.parameter.path == ("head", "momentum")
    assert str(first.premise) == 'opt="SGD"'
    assert not first.is_conditional


def test_beside_plain_options_no_object_appears_at_all():
    assert expanded({"trainable": choice(True, False)}, PlainOptions.FLAT) == {
        "trainable": choice(True, False),
        "two_step": choice(True, False),
        **STEP_1,
    }


def test_two_parameters_of_one_role_share_what_stands_beside_them():
    definition = {"opt_1": choice("sgd"), "opt_2": choice("sgd")}
    expansion = expand(definition, plain_options=PlainOptions.FLAT)
    assert expansion.definition == {**definition, "momentum": MOMENTUM}
    assert [str(added.premise) for added in expansion.added] == ['opt_1="sgd"', 'opt_2="sgd"']


@pytest.mark.parametrize("plain_options", [PlainOptions.KEPT, PlainOptions.NESTED])
def test_a_choice_that_is_new_itself_is_nested_unasked(plain_options):
    definition = {"trainable": choice(option(True), option(False))}
    expansion = expand(definition, plain_options=plain_options)
    assert expansion.definition == {"trainable": choice(option(True, two_step=TWO_STEP), option(False))}
    assert expansion.nested == ()


def test_the_users_own_two_step_is_not():
    definition = {"two_step": choice(True, False)}
    assert expanded(definition) == definition
    assert expanded(definition, PlainOptions.NESTED) == {"two_step": TWO_STEP}


# --- what is there is not added again


@pytest.mark.parametrize(
    "there",
    [
        {"momentum": ranged("uniform", 0, 1)},
        {"mom": choice(0.9)},
        {"sgd_momentum": choice(0.9)},
        {"momentum": choice("heavy", "light")},  # whatever it is: the name is taken
        {"more": choice(option("yes", momentum=choice(0.9)), option("no"))},  # both can be there at once
    ],
)
@pytest.mark.parametrize("opt", [choice(option("sgd"), option("rmsprop")), choice("sgd", "rmsprop")])
@pytest.mark.parametrize("plain_options", PlainOptions)
def test_what_plays_the_part_elsewhere_is_enough(there, opt, plain_options):
    definition = {"opt": opt, **there}
    expansion = expand(definition, plain_options=plain_options)
    assert expansion.definition == definition
    (reason,) = reasons(expansion)["momentum"]
    assert " is there already" in reason


def test_what_is_there_under_another_option_only_is_not_enough():
    definition = {"opt": choice(option("sgd"), option("rmsprop", momentum=choice(0.9)))}
    assert expanded(definition) == {
        "opt": choice(option("sgd", momentum=MOMENTUM), option("rmsprop", momentum=choice(0.9)))
    }


def test_what_is_there_in_another_branch_only_is_not_enough():
    def part(**inside):
        return choice(option("sgd", **inside))

    definition = {"kind": choice(option("a", opt=part()), option("b", opt=part(momentum=choice(0.9))))}
    expansion = expand(definition)
    a, b = expansion.definition["kind"]["_value"]
    assert a == option("a", opt=part(momentum=MOMENTUM))
    assert b == option("b", opt=part(momentum=choice(0.9)))
    assert reasons(expansion)["momentum"] == [
        "parameter 'kind.opt.momentum' is there already, without 0.0, 0.1, 0.5, 0.99"
    ]


def test_one_parameter_that_is_enough_for_several_is_told_once():
    expansion = expand({"opt_1": choice(option("sgd")), "opt_2": choice(option("sgd")), "mom": MOMENTUM})
    assert reasons(expansion)["momentum"] == ["parameter 'mom' is there already"]


def test_what_is_there_keeps_its_values_and_those_it_lacks_are_told():
    definition = {
        "net": choice(option("vanilla", act=choice("ReLU", "gelu"), w_init=choice("xavier_uniform", "orthogonal"))),
        "opt": choice(option("AdamW", wd=ranged("uniform", 0.004, 0.06), min_lr=choice(0, 1e-5))),
    }
    expansion = expand(definition, {"w_init": "initializer"})
    assert expansion.definition == definition
    found = reasons(expansion)
    assert found["activation"] == ["parameter 'net.act' is there already, without selu, tanh"]
    assert found["initializer"] == ["parameter 'net.w_init' is there already, without he_uniform, lecun_uniform"]
    assert found["weight_decay_rate"] == ["parameter 'opt.wd' is there already, without 0.001, 0.1"]
    assert found["end_learning_rate"] == ["parameter 'opt.min_lr' is there already, without 0.0001, 2e-06, 1e-06"]


def test_what_is_there_without_its_premise_is_named_before_the_premise_is_missed():
    expansion = expand({"opt": choice("adam"), "mom": choice(0.9), "act": choice("relu", "selu", "tanh")})
    found = reasons(expansion)
    assert found["momentum"] == ["parameter 'mom' is there already, without 0.0, 0.1, 0.5, 0.99"]
    assert found["activation"] == ["parameter 'act' is there already"]


@pytest.mark.parametrize("trainable", [choice(1, 0), choice("yes", "no"), choice(False), ranged("randint", 0, 2)])
def test_a_parameter_without_the_option_is_named(trainable):
    expansion = expand({"trainable": trainable}, plain_options=PlainOptions.NESTED)
    assert expansion.added == ()
    assert reasons(expansion)["two_step"] == ["parameter 'trainable' has no option that means true"]


def test_a_new_choice_whose_parameters_are_there_stays_plain():
    definition = {"trainable": choice(option("True"), option("False")), **STEP_1}
    assert expanded(definition)["trainable"] == choice(option("True", two_step=choice(True, False)), option("False"))


# --- groups, and what stays


@pytest.mark.parametrize(
    ("group", "objects"),
    [
        (Group.MODEL, ["initializer", "activation"]),
        (Group.OPTIMIZER, ["momentum", "end_learning_rate", "weight_decay_rate"]),
        (Group.FINE_TUNING, ["two_step", *STEP_1]),
    ],
)
def test_one_group_alone(group, objects):
    expansion = expand(shipped("image"), groups=[group], plain_options=PlainOptions.NESTED)
    assert list(dict.fromkeys(added.addition.object for added in expansion.added)) == objects
    assert expansion.left_alone == ()


def test_the_groups_one_after_the_other_are_all_at_once():
    definition = shipped("image")
    for group in reversed(Group):
        definition = expanded(definition, PlainOptions.NESTED, groups=[group])
    assert definition == shipped("image_expanded")


def test_no_group_no_change():
    expansion = expand(shipped("image"), groups=(), plain_options=PlainOptions.NESTED)
    assert expansion.definition == shipped("image")
    assert expansion.left_alone == ()


def test_the_given_definition_is_not_modified_and_what_is_no_part_of_a_space_stays():
    definition = {
        "opt": {**choice("sgd", "adam"), "_comment": "both work"},
        "net": choice(option("vanilla", opt=choice("sgd"))),
    }
    before = copy.deepcopy(definition)
    found = expanded(definition, PlainOptions.NESTED)
    assert definition == before
    assert found["opt"]["_comment"] == "both work"


# --- errors


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ([], "search space is a list, expected an object of parameters"),
        ({}, "search space is empty"),
        ({"lr": {"_type": "uniform", "_value": [0, float("nan")]}}, "parameter 'lr' .uniform. has value nan"),
        ({"lr": choice(float("inf"))}, "parameter 'lr' has NaN or infinity among its options"),
    ],
)
def test_what_is_no_search_space_is_refused(definition, words):
    with pytest.raises(SearchSpaceError, match=words):
        expand(definition)


def test_an_unknown_role_is_refused():
    with pytest.raises(SearchSpaceError, match="parameter 'opt' has unknown role 'optimiser', expected one of"):
        expand({"opt": choice("sgd")}, {"opt": "optimiser"})


@pytest.mark.parametrize("depth", [100, 99])
def test_a_space_as_deep_as_can_be(depth):
    """The deepest choice that can be read is nested 100 choices deep; a new one under it would be deeper."""
    definition = {"trainable": choice(option("true"))}
    for _ in range(depth - 1):
        definition = {"x": choice(option("a", **definition))}
    if depth == 100:
        with pytest.raises(SearchSpaceError, match="is nested 101 choices deep, expected at most 100"):
            expand(definition)
    else:
        assert len(expand(definition).added) == 5


# --- any space

WORDS = {
    ("optimizer", "opt"): ["sgd", "SGD", "adam", "AdamW", "adam_weight_decay", None],
    ("block_type", "net"): ["vanilla", "resnet18", "my_vanilla", ["vanilla"]],
    ("trainable", "two_step"): [True, False, "true", "False", 1],
}
PRESENT = ("momentum", "mom", "wd", "weight_decay_rate", "end_lr", "activation", "init", "three_step", "freeze")


def a_choice(words, branches):
    names = st.lists(st.sampled_from(words), min_size=1, max_size=3, unique_by=canonical_json)
    plain = names.map(lambda chosen: choice(*chosen))
    if branches is None:
        return plain
    nested = names.flatmap(lambda chosen: st.tuples(*(branches.map(lambda b, n=n: option(n, **b)) for n in chosen)))
    return st.one_of(plain, nested.map(lambda options: choice(*options)))


def parameters(branches=None):
    """A few parameters of the roles that count, plain and nested, some of them there already."""
    specs = {name: a_choice(words, branches) for names, words in WORDS.items() for name in names}
    specs |= dict.fromkeys(PRESENT, FINITE_SPECS)
    names = st.lists(st.sampled_from([*specs]), max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: specs[name] for name in chosen}))


SPACES_WITH_ROLES = parameters(parameters(parameters())).filter(bool)
ANY_SPACE = st.one_of(
    SPACES_WITH_ROLES,
    definitions(st.one_of(FINITE_SPECS, CONTINUOUS_SPECS)),
    st.tuples(definitions(CONTINUOUS_SPECS), SPACES_WITH_ROLES).map(lambda pair: {**pair[0], **pair[1]}),
)


def complete(configuration, old, new, rng):
    """A configuration of the new space with the old one's values: an option that became an object by its name."""
    values = {parameter.path: value for parameter, value in old.active_values(configuration)}

    def choose(parameter):
        if parameter.path not in values:
            return parameter.sample(rng)
        value = values[parameter.path]
        return value if parameter.contains(value) else json.dumps(value)

    return new.build(choose)


@settings(max_examples=200, deadline=None)
@given(definition=ANY_SPACE, plain_options=st.sampled_from(PlainOptions), seed=st.integers(0, 2**32 - 1))
def test_any_space_grows_and_a_second_time_it_does_not(definition, plain_options, seed):
    expansion = expand(definition, plain_options=plain_options)
    old, new, rng = SearchSpace(definition), SearchSpace(expansion.definition), np.random.default_rng(seed)
    assert {added.parameter.place for added in expansion.added} <= {parameter.place for parameter in new.walk()}

    configuration = old.sample(rng)
    if plain_options is not PlainOptions.NESTED:  # the old configuration is a part of a new one, as it is
        apply_partial(configuration, new, lambda parameter: parameter.sample(rng))
    completed = complete(configuration, old, new, rng)
    new.check(completed)
    found = {parameter.path: value for parameter, value in new.active_values(completed)}
    for parameter, value in old.active_values(configuration):
        assert canonical_json(found[parameter.path]) in (canonical_json(value), json.dumps(json.dumps(value)))

    again = expand(expansion.definition, plain_options=plain_options)
    assert again.definition == expansion.definition
    assert again.added == again.nested == ()
