"""The search space: NNI's format, all the way down, and every refusal by name."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from generated_spaces import CONTINUOUS_SPECS, FINITE_SPECS, choice, definitions, option, ranged
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_dream.search.json_values import canonical_json, same_value
from nni_dream.search.parameters import Choice, Premise, Range
from nni_dream.search.space import SearchSpace, SearchSpaceError


def parameter_of(spec):
    (parameter,) = SearchSpace({"x": spec}).parameters
    return parameter


NESTED = {
    "optimizer": choice(
        option("adam"),
        option("sgd", momentum=choice(0.0, 0.9), nesterov=choice(option(True, decay=choice(1, 2)), option(False))),
    ),
    "batch_size": ranged("randint", 1, 4),
}


# --- identity


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1.0, True),
        (0, -0.0, True),
        (1, True, False),
        (1.0, True, False),
        (0, False, False),
        (0, None, False),
        (1, "1", False),
        (0.1, 0.1, True),
        (0.1, 0.1000001, False),
        (1e300, int(1e300), True),
        ([1, 2], [1.0, 2.0], True),
        ([1, 2], (1, 2), True),  # JSON knows lists only
        ([1, 2], [2, 1], False),
        ([True], [1], False),
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}, True),
        ({"a": {"b": [1]}}, {"a": {"b": [1.0]}}, True),
        ({"a": {"b": [1]}}, {"a": {"b": [True]}}, False),
        ({"a": None}, {}, False),
    ],
    ids="{!s:.40}".format,
)
def test_identity(one, other, expected):
    assert same_value(one, other) is expected
    assert (canonical_json(one) == canonical_json(other)) is expected


# --- reading a space


def test_every_type_of_nni_is_read():
    space = SearchSpace(
        {
            "choice": choice(1, "two", None, [3], {"four": 4}, True),
            "randint": ranged("randint", -2, 3),
            "uniform": ranged("uniform", 0, 1),
            "quniform": ranged("quniform", 0, 10, 2.5),
            "loguniform": ranged("loguniform", 1e-5, 1),
            "qloguniform": ranged("qloguniform", 1, 100, 5),
            "normal": ranged("normal", 0, 1),
            "qnormal": ranged("qnormal", 0, 1, 0.5),
            "lognormal": ranged("lognormal", 0, 1),
            "qlognormal": ranged("qlognormal", 0, 1, 0.5),
        }
    )
    assert [parameter.name for parameter in space.walk()] == [
        parameter.type if isinstance(parameter, Range) else "choice" for parameter in space.walk()
    ]
    space.check(space.sample(np.random.default_rng(0)))


def test_nested_choices_carry_their_premises_to_any_depth():
    paths = {".".join(parameter.path): parameter.premises for parameter in SearchSpace(NESTED).walk()}
    sgd = Premise(("optimizer",), "sgd")
    assert paths == {
        "optimizer": (),
        "optimizer.momentum": (sgd,),
        "optimizer.nesterov": (sgd,),
        "optimizer.nesterov.decay": (sgd, Premise(("optimizer", "nesterov"), True)),
        "batch_size": (),
    }
    assert str(sgd) == 'optimizer="sgd"'


def test_a_choice_is_nested_only_when_every_option_has_a_name():
    parameter = parameter_of(choice({"_name": "sgd"}, {"momentum": 0.9}))
    assert parameter.action_values() == [{"_name": "sgd"}, {"momentum": 0.9}]
    assert parameter.branch({"_name": "sgd"}) is None


def test_a_repeated_candidate_is_one_option():
    assert parameter_of(choice(25, 25, 25.0, 45, True)).action_values() == [25, 45, True]


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ([], r"search space is a list, expected an object of parameters"),
        (None, r"search space is a NoneType, expected an object"),
        ({}, r"search space is empty, expected at least one parameter"),
        ({"_name": "sgd"}, r"search space is empty, expected at least one parameter"),
        ({"x": 1}, r"parameter 'x' is 1, expected an object with '_type' and '_value'"),
        ({"x": [0.1, 0.2]}, r"parameter 'x' is \[0\.1, 0\.2\], expected an object with"),
        ({"x": {"_type": "choice"}}, r"parameter 'x' is .*, expected an object with '_type' and '_value'"),
        ({"x": {"_value": [1]}}, r"expected an object with '_type' and '_value'"),
        ({"x": ranged("chooice", 1)}, r"parameter 'x' has unknown _type 'chooice', expected one of choice, randint"),
        ({"x": ranged("chooice", 1)}, r"qlognormal; did you mean 'choice'\?$"),
        ({"x": ranged("log_uniform", 1, 2)}, r"unknown _type 'log_uniform', .*; did you mean 'loguniform'\?$"),
        ({"x": ranged("factor", 1, 2)}, r"unknown _type 'factor', expected one of .*, qlognormal$"),
        ({"x": ranged(["choice"], 1)}, r"parameter 'x' has unknown _type \['choice'\]"),
        ({"x": {"_type": "choice", "_value": 3}}, r"parameter 'x' has _value 3, expected a list"),
        ({"x": {"_type": "choice", "_value": "abc"}}, r"parameter 'x' has _value \"abc\", expected a list"),
        ({"x": {"_type": "choice", "_value": {"a": 1}}}, r"has _value .*, expected a list"),
        ({"x": choice()}, r"parameter 'x' is a choice without any option"),
        ({"x": choice(0.1, math.nan)}, r"parameter 'x' has NaN or infinity among its options"),
        ({"x": choice([math.inf])}, r"parameter 'x' has NaN or infinity among its options"),
        ({"x": choice(option("a"), option("a"))}, r"parameter 'x' has two options named \"a\", expected distinct"),
        ({"x": ranged("uniform", 0)}, r"parameter 'x' \(uniform\) has 1 values \[0\], expected 2"),
        ({"x": ranged("uniform", 0, 1, 0.1)}, r"parameter 'x' \(uniform\) has 3 values .*, expected 2"),
        ({"x": ranged("quniform", 0, 1)}, r"parameter 'x' \(quniform\) has 2 values .*, expected 3"),
        ({"x": ranged("uniform", 1, 0)}, r"\(uniform\) has bounds \[1, 0\] in reverse, expected low <= high"),
        ({"x": ranged("uniform", "0", 1)}, r"\(uniform\) has value '0', expected finite numbers"),
        ({"x": ranged("uniform", False, 1)}, r"has value False, expected finite numbers"),
        ({"x": ranged("uniform", 0, math.inf)}, r"has value inf, expected finite numbers"),
        ({"x": ranged("normal", math.nan, 1)}, r"has value nan, expected finite numbers"),
        ({"x": ranged("uniform", 0, 10**400)}, r"has value 10*, expected finite numbers"),
        ({"x": ranged("uniform", -1e308, 1e308)}, r"\(uniform\) has bounds .*, whose difference is beyond the largest"),
        ({"x": ranged("quniform", 0, 1, 5e-324)}, r"\(quniform\) has step 5e-324, which is too small to count from 0"),
        ({"x": ranged("normal", 0, 1e308)}, r"\(normal\) has mu 0 and sigma 1e\+308, which reach beyond the largest"),
        ({"x": ranged("lognormal", 1000, 1)}, r"\(lognormal\) has mu 1000 and sigma 1, which reach beyond the largest"),
        ({"x": ranged("randint", 0, 0)}, r"\(randint\) has bounds \[0, 0\], expected integers with low < high"),
        ({"x": ranged("randint", 0.5, 2)}, r"has bounds \[0\.5, 2\], expected integers with low < high"),
        ({"x": ranged("randint", 3, 1)}, r"has bounds \[3, 1\] in reverse"),
        ({"x": ranged("loguniform", 0, 1)}, r"has lower bound 0, expected low > 0 for a logarithm"),
        ({"x": ranged("qloguniform", -1, 1, 1)}, r"has lower bound -1, expected low > 0 for a logarithm"),
        ({"x": ranged("quniform", 0, 1, 0)}, r"\(quniform\) has step 0, expected a step > 0"),
        ({"x": ranged("qnormal", 0, 1, -1)}, r"\(qnormal\) has step -1, expected a step > 0"),
        ({"x": ranged("normal", 0, 0)}, r"\(normal\) has sigma 0, expected sigma > 0"),
        ({"x": ranged("lognormal", 0, -1)}, r"\(lognormal\) has sigma -1, expected sigma > 0"),
        (
            {"a": choice(option("b", c=choice(option(1, d=ranged("uniform", 1, 0)))))},
            r"parameter 'a\.c\.d' \(uniform\) has bounds",
        ),
        ({"a": choice(option("b", c=7))}, r"parameter 'a\.c' is 7, expected an object"),
    ],
    ids=lambda value: json.dumps(value)[:60] if not isinstance(value, str) else "",
)
def test_a_wrong_space_is_refused_by_name(definition, words):
    with pytest.raises(SearchSpaceError, match=words):
        SearchSpace(definition)


def nested(depth, name="level"):
    """A space of choices, one inside the other."""
    spec = choice(option("end", lr=ranged("loguniform", 1e-4, 1)))
    for _ in range(depth - 1):
        spec = choice(option("stop"), option("on", **{name: spec}))
    return {name: spec}


@pytest.mark.parametrize("depth", [1, 50, 100])
def test_choices_nest_deeply(depth):
    space, rng = SearchSpace(nested(depth)), np.random.default_rng(0)
    assert sum(1 for _ in space.walk()) == depth + 1
    deepest = space.build(lambda parameter: parameter.action_values()[-1])
    space.check(json.loads(json.dumps(deepest)))
    assert len(space.active_values(deepest)) == depth + 1
    assert space.n_configurations() is None
    space.check(space.sample(rng))


def test_choices_that_nest_too_deeply_are_refused():
    with pytest.raises(SearchSpaceError, match=r"'level\..*level' is nested 101 choices deep, expected at most 100"):
        SearchSpace(nested(101))


def test_a_value_that_nests_too_deeply_is_refused():
    value = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(SearchSpaceError, match="values that are nested too deeply"):
        SearchSpace({"x": choice(value)})


@pytest.mark.parametrize(
    "name", ["", " ", ".", "a.b/c", "_type", "naïve", "学习率", "\n\x1b[31m", "\ud800", "'", '"', "0"]
)
def test_a_name_may_have_any_character(name):
    space = SearchSpace({name: choice({"_name": name, name: choice(1, 2)})})
    configuration = space.sample(np.random.default_rng(0))
    space.check(json.loads(json.dumps(configuration)))


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(SearchSpaceError, match=r"\.\.\., expected an object") as error:
        SearchSpace({"x": list(range(1000))})
    assert len(str(error.value)) < 160


# --- membership


@pytest.mark.parametrize(
    ("spec", "inside", "outside"),
    [
        (choice(1, 0.5, "a"), [1, 1.0, 0.5, "a"], [True, "1", 0.50001, None, "A"]),
        (choice(True, False), [True, False], [1, 0, "true"]),
        (choice([1, 2], {"a": 1}, None), [[1, 2], (1, 2), {"a": 1}, None], [[2, 1], {"a": 2}, {}, 0]),
        (ranged("randint", 0, 3), [0, 2, 2.0], [-1, 3, 3.0, 1.5, True, "1", None, math.nan, math.inf]),
        (ranged("randint", -3, -1), [-3, -2], [-4, -1, 0]),
        (ranged("uniform", 0, 1), [0, 1, 0.5, 1.0], [-1e-6, 1.000001, True, "0.5", [0.5], math.nan, -math.inf]),
        (ranged("uniform", 2, 2), [2, 2.0], [1.9, 2.1]),
        (ranged("quniform", 0, 1, 0.25), [0, 0.25, 0.5, 1], [0.3, -0.25, 1.25]),
        (ranged("quniform", 0, 1, 0.1), [0.1 * 3, 0.3, 0.7, 1], [0.35, 0.30001]),
        (ranged("quniform", 2, 10, 5), [2, 5, 10], [0, 3, 4, 15]),  # 0 is clipped to 2
        (ranged("quniform", 0, 9, 5), [0, 5, 9], [8, 10]),  # 10 is clipped to 9
        (ranged("quniform", 0.5, 0.9, 2), [0.5], [0, 0.7, 0.9]),  # the step is larger than the range
        (ranged("loguniform", 1e-5, 1), [1e-5, 1e-5 * (1 + 1e-12), 1e-5 * (1 - 1e-12), 1], [0, 0.99e-5, 1.01, -1]),
        (ranged("loguniform", 1e-12, 1e-6), [1e-12, 1e-9, 1e-6], [0, -1e-12, 0.9e-12, 1.1e-6]),
        (ranged("qloguniform", 1, 100, 10), [1, 10, 100], [0, 5, 110]),
        (ranged("quniform", 0, 1e-9, 1e-10), [0, 1e-10, 1e-9], [1.5e-10, -1e-10, 1.1e-9]),
        (ranged("normal", 0, 1), [0, -1e9, 1e9], [math.nan, math.inf, True, "0"]),
        (ranged("qnormal", 0, 1, 0.5), [0, -1.5, 100], [0.25]),
        (ranged("lognormal", 0, 1), [1e-9, 1, 1e9], [-1, -1e-9, math.nan]),
        (ranged("qlognormal", 0, 1, 0.5), [0, 0.5, 100], [-0.5, 0.25]),
    ],
    ids="{!s:.40}".format,
)
def test_membership(spec, inside, outside):
    parameter = parameter_of(spec)
    assert [value for value in inside if not parameter.contains(value)] == []
    assert [value for value in outside if parameter.contains(value)] == []


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({"batch_size": 1}, r"parameter 'optimizer' is missing, expected one of \"adam\", \"sgd\""),
        (
            {"optimizer": {"_name": "adam"}},
            r"parameter 'batch_size' is missing, expected an integer with 1 <= value < 4",
        ),
        (
            {"optimizer": {"_name": "rmsprop"}, "batch_size": 1},
            r"parameter 'optimizer' is \"rmsprop\", expected one of",
        ),
        ({"optimizer": {}, "batch_size": 1}, r"parameter 'optimizer' is \{\}, expected one of"),
        ({"optimizer": "adam", "batch_size": 1}, r"optimizer is \"adam\", expected an object"),
        (
            {"optimizer": {"_name": "adam", "momentum": 0.9}, "batch_size": 1},
            r"parameter 'optimizer\.momentum' is not in the search space \(none\)",
        ),
        (
            {"optimizer": {"_name": "sgd", "momentum": 0.9}, "batch_size": 1},
            r"parameter 'optimizer\.nesterov' is missing",
        ),
        (
            {"optimizer": {"_name": "sgd", "momentum": 0.5, "nesterov": {"_name": False}}, "batch_size": 1},
            r"parameter 'optimizer\.momentum' is 0\.5, expected one of 0\.0, 0\.9",
        ),
        (
            {
                "optimizer": {"_name": "sgd", "momentum": 0, "nesterov": {"_name": True, "decay": 3}},
                "batch_size": 1,
            },
            r"parameter 'optimizer\.nesterov\.decay' is 3, expected one of 1, 2",
        ),
        (
            {"optimizer": {"_name": "sgd", "momentum": 0, "nesterov": {"_name": 1, "decay": 1}}, "batch_size": 1},
            r"parameter 'optimizer\.nesterov' is 1, expected one of true, false",
        ),
        (
            {"optimizer": {"_name": "adam"}, "batch_size": 4},
            r"parameter 'batch_size' is 4, expected an integer with 1 <=",
        ),
        ({"optimizer": {"_name": "adam"}, "batch_size": True}, r"parameter 'batch_size' is true"),
        (
            {"optimizer": {"_name": "adam"}, "batch_size": 1, "lr": 1},
            r"parameter 'lr' is not in the search space \(batch_size, optimizer\)",
        ),
        ({"_name": "adam", "optimizer": {"_name": "adam"}, "batch_size": 1}, r"parameter '_name' is not in the search"),
        ([], r"configuration is \[\], expected an object"),
        (None, r"configuration is null, expected an object"),
    ],
    ids="{!s:.70}".format,
)
def test_a_configuration_outside_is_refused_by_name(configuration, words):
    with pytest.raises(SearchSpaceError, match=words):
        SearchSpace(NESTED).check(configuration)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ranged("uniform", 0, 1), "a number from 0 to 1"),
        (ranged("quniform", 0, 1, 0.25), r"a number from 0 to 1, a multiple of 0\.25"),
        (ranged("normal", 0, 1), r"a finite number \(normal\)"),
        (ranged("lognormal", 0, 1), r"a finite number >= 0 \(lognormal\)"),
    ],
    ids="{!s:.40}".format,
)
def test_the_message_says_what_a_range_expects(spec, words):
    with pytest.raises(SearchSpaceError, match=rf"parameter 'x' is \"a\", expected {words}$"):
        SearchSpace({"x": spec}).check({"x": "a"})


def test_a_configuration_inside_passes():
    SearchSpace(NESTED).check(
        {"optimizer": {"_name": "sgd", "momentum": 0.9, "nesterov": {"_name": True, "decay": 2.0}}, "batch_size": 3}
    )


# --- actions' candidates


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (choice(3, "a", None), [3, "a", None]),
        (choice(option("a"), option("b")), ["a", "b"]),
        (ranged("uniform", 0, 1), [0.1, 0.3, 0.5, 0.7, 0.9]),
        (ranged("uniform", 2, 2), [2]),
        (ranged("randint", 0, 10), [1, 3, 5, 7, 9]),
        (ranged("randint", 5, 6), [5]),
        (ranged("randint", 0, 2), [0, 1]),
        (ranged("quniform", 0, 1, 0.5), [0, 0.5, 1]),
        (ranged("loguniform", 1e-5, 1), [10**-4.5, 10**-3.5, 10**-2.5, 10**-1.5, 10**-0.5]),
        (ranged("normal", 0, 1), [-1.28155, -0.52440, 0, 0.52440, 1.28155]),
        (ranged("lognormal", 0, 1), [0.27761, 0.59191, 1, 1.68945, 3.60222]),
    ],
    ids="{!s:.40}".format,
)
def test_candidates(spec, expected):
    parameter = parameter_of(spec)
    found = parameter.action_values()
    if isinstance(parameter, Range):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-9)
    else:
        assert found == expected
    assert all(parameter.contains(value) for value in found)


# --- drawing and counting


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (NESTED, 3 * (1 + 2 * (2 + 1))),
        ({"x": choice(1, 2, 2.0)}, 2),
        ({"x": ranged("randint", -2, 3)}, 5),
        ({"x": ranged("uniform", 2, 2)}, 1),
        ({"x": ranged("uniform", 1, 2)}, None),
        ({"x": ranged("quniform", 0, 1, 0.1)}, 11),
        ({"x": ranged("quniform", 2, 10, 5)}, 3),  # 2, 5, 10: 0 is clipped
        ({"x": ranged("quniform", 0.5, 0.9, 2)}, 1),
        ({"x": ranged("quniform", -5.5, -0.5, 6)}, 2),  # -5.5, -0.5
        ({"x": ranged("qloguniform", 1, 100, 10)}, 11),  # 1, 10, 20, ... 100
        ({"x": ranged("quniform", 1, 2, 1), "y": ranged("randint", 0, 3)}, 6),
        ({"x": ranged("qnormal", 0, 1, 0.5)}, None),
        ({"x": choice(1, 2), "y": ranged("normal", 0, 1)}, None),
        ({"x": choice(option("a"), option("b", y=ranged("loguniform", 1, 2)))}, None),
        ({"x": choice(option("a"), option("b"))}, 2),
    ],
    ids="{!s:.40}".format,
)
def test_n_configurations(definition, expected):
    assert SearchSpace(definition).n_configurations() == expected


def test_every_configuration_is_drawn_sooner_or_later():
    space, rng = SearchSpace(NESTED), np.random.default_rng(0)
    drawn = {canonical_json(space.sample(rng)) for _ in range(600)}
    assert drawn == set(map(canonical_json, space.enumerate()))


def test_the_same_seed_draws_the_same():
    space = SearchSpace(NESTED)
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    assert [space.sample(one) for _ in range(20)] == [space.sample(other) for _ in range(20)]


def test_a_logarithmic_range_is_drawn_evenly_in_the_logarithm():
    parameter, rng = parameter_of(ranged("loguniform", 1e-4, 1)), np.random.default_rng(0)
    logs = [math.log10(parameter.sample(rng)) for _ in range(2000)]
    counts, _ = np.histogram(logs, bins=4, range=(-4, 0))
    assert counts.sum() == 2000
    assert counts.min() > 400


@settings(max_examples=200, deadline=None)
@given(definitions(st.one_of(FINITE_SPECS, CONTINUOUS_SPECS)), st.integers(0, 2**32))
def test_what_is_drawn_lies_inside_and_survives_json(definition, seed):
    space = SearchSpace(definition)
    configuration = space.sample(np.random.default_rng(seed))
    space.check(configuration)
    returned = json.loads(json.dumps(configuration, allow_nan=False))
    space.check(returned)
    assert canonical_json(returned) == canonical_json(configuration)
    active = space.active_values(configuration)
    assert len(active) == len({parameter.path for parameter, _ in active})
    assert all(parameter.contains(value) for parameter, value in active)


@settings(max_examples=200, deadline=None)
@given(definitions(st.one_of(FINITE_SPECS, CONTINUOUS_SPECS)))
def test_every_candidate_of_an_action_lies_inside(definition):
    for parameter in SearchSpace(definition).walk():
        assert all(parameter.contains(value) for value in parameter.action_values())


@settings(max_examples=100, deadline=None)
@given(definitions(FINITE_SPECS, max_parameters=2))
def test_enumerate_yields_every_configuration_once(definition):
    space = SearchSpace(definition)
    n = space.n_configurations()
    if n > 3000:
        return
    configurations = list(space.enumerate())
    assert len(configurations) == n
    assert len(set(map(canonical_json, configurations))) == n
    for configuration in configurations:
        space.check(configuration)


@given(definitions(CONTINUOUS_SPECS, max_parameters=1))
@settings(max_examples=30, deadline=None)
def test_a_space_with_a_continuous_parameter_has_no_count(definition):
    space = SearchSpace(definition)
    is_continuous = any(isinstance(p, Range) and p.n_values() is None for p in space.walk())
    assert (space.n_configurations() is None) is is_continuous


def test_enumerate_does_not_hold_what_it_has_not_yielded():
    space = SearchSpace({"x": choice(1, 2), "y": ranged("randint", 0, 10**12), "z": ranged("quniform", 0, 1, 1e-9)})
    first = next(iter(space.enumerate()))
    assert first == {"x": 1, "y": 0, "z": 0}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ranged("quniform", 2, 10, 5), [2, 5, 10]),
        (ranged("quniform", 0, 9, 5), [0, 5, 9]),
        (ranged("quniform", 0, 1, 0.25), [0, 0.25, 0.5, 0.75, 1]),
        (ranged("quniform", 0, 0.5, 0.1), [0, 0.1, 0.2, 0.3, 0.4, 0.5]),  # 3 * 0.1 is a little more than 0.3
        (ranged("qloguniform", 2, 2, 1), [2]),
        (ranged("uniform", 99.9, 99.9), [99.9]),
        (ranged("randint", -2, 1), [-2, -1, 0]),
    ],
    ids="{!s:.40}".format,
)
def test_the_values_of_a_finite_range(spec, expected):
    assert [configuration["x"] for configuration in SearchSpace({"x": spec}).enumerate()] == expected


# --- roles


ROLES = {
    "lr": ranged("loguniform", 1e-4, 1),
    "opt": choice(option("adam"), option("sgd", rate=ranged("uniform", 0, 1))),
}


def roles_of(space):
    return {".".join(parameter.path): parameter.role and parameter.role.value for parameter in space.walk()}


def test_roles_are_inferred():
    assert roles_of(SearchSpace(ROLES)) == {"lr": "learning_rate", "opt": "optimizer", "opt.rate": None}


@pytest.mark.parametrize("key", ["rate", "opt.rate"])
def test_roles_are_stated_by_name_or_path(key):
    space = SearchSpace(ROLES, {key: "momentum"})
    space.check_roles({key: "momentum"})
    assert roles_of(space) == {"lr": "learning_rate", "opt": "optimizer", "opt.rate": "momentum"}


def test_what_is_stated_goes_before_what_is_inferred():
    assert roles_of(SearchSpace(ROLES, {"lr": "dropout"}))["lr"] == "dropout"


def test_an_unknown_role_is_refused():
    with pytest.raises(
        SearchSpaceError,
        match=r"roles: parameter 'lr' has unknown role 'learnrate', expected one of architecture, optimizer, learning",
    ):
        SearchSpace(ROLES, {"lr": "learnrate"})


def test_a_role_of_an_unknown_parameter_is_refused():
    with pytest.raises(
        SearchSpaceError,
        match=r"roles: no parameter is called 'ratte' \(there are lr, opt, rate, opt\.rate\); did you mean 'rate'\?",
    ):
        SearchSpace(ROLES).check_roles({"ratte": "momentum"})


def test_enumerate_keeps_a_fixed_order():
    space = SearchSpace(NESTED)
    assert list(space.enumerate()) == list(space.enumerate())
    sizes = [configuration["batch_size"] for configuration in space.enumerate()]
    assert sizes[:4] == [1, 2, 3, 1]


def test_candidates_of_a_range_rise():
    found = parameter_of(ranged("qloguniform", 1, 1000, 3)).action_values()
    assert all(earlier < later for earlier, later in pairwise(found))


# --- what is active


def values_of(space, configuration):
    return {".".join(parameter.path): value for parameter, value in space.active_values(configuration)}


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (
            {"optimizer": {"_name": "sgd", "momentum": 0.9, "nesterov": {"_name": False}}, "batch_size": 2},
            {"optimizer": "sgd", "optimizer.momentum": 0.9, "optimizer.nesterov": False, "batch_size": 2},
        ),
        ({"optimizer": {"_name": "adam"}, "batch_size": 2}, {"optimizer": "adam", "batch_size": 2}),
        # from here on: of another version of the space
        ({"optimizer": {"_name": "adam", "momentum": 0.9}}, {"optimizer": "adam"}),
        ({"optimizer": {"_name": "rmsprop", "momentum": 0.9}, "batch_size": 2}, {"batch_size": 2}),
        ({"optimizer": "sgd", "batch_size": 9, "lr": 0.1}, {"optimizer": "sgd"}),
        ({"optimizer": {"_name": "sgd", "momentum": 0.5}}, {"optimizer": "sgd"}),
        ({"optimizer": {"_name": "sgd", "nesterov": True}}, {"optimizer": "sgd", "optimizer.nesterov": True}),
        ({"optimizer": ["sgd"], "batch_size": None}, {}),
        ({}, {}),
        (None, {}),
    ],
    ids="{!s:.40}".format,
)
def test_active_values(configuration, expected):
    assert values_of(SearchSpace(NESTED), configuration) == expected


def test_build_asks_for_active_parameters_only():
    asked = []

    def choose(parameter):
        asked.append(parameter.name)
        return parameter.action_values()[0]

    assert SearchSpace(NESTED).build(choose) == {"optimizer": {"_name": "adam"}, "batch_size": 1}
    assert asked == ["optimizer", "batch_size"]


def test_a_plain_choice_is_a_choice():
    assert isinstance(parameter_of(choice(1)), Choice)
