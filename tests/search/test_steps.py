"""Steps on a numeric range: from the present value, as its role and type ask."""

import json
import math

import numpy as np
import pytest
from generated_spaces import CONTINUOUS_SPECS
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_dream.search.json_values import same_value
from nni_dream.search.space import SearchSpace
from nni_dream.search.steps import steps


def steps_of(name, type_, values, present):
    (parameter,) = SearchSpace({name: {"_type": type_, "_value": values}}).parameters
    return steps(parameter, present)


@pytest.mark.parametrize(
    ("name", "type_", "values", "present", "expected"),
    [
        # rates are multiplied and divided, whatever their type
        ("lr", "loguniform", [1e-5, 1], 0.01, [0.1, 0.001, 0.0316, 0.00316]),
        ("lr", "uniform", [1e-5, 1], 0.01, [0.1, 0.001, 0.0316, 0.00316]),
        ("wd", "uniform", [0, 1], 0.01, [0.1, 0.001, 0.0316, 0.00316]),
        ("x", "loguniform", [1e-5, 1], 0.01, [0.1, 0.001, 0.0316, 0.00316]),
        ("lr", "loguniform", [1e-5, 1], 0.5, [1, 0.05, 0.158]),  # both upper ones end at the bound
        ("lr", "loguniform", [1e-5, 1], 1, [0.1, 0.316]),
        ("wd", "uniform", [0, 0.5], 0, [0.05, 0.005, 0.0005]),  # no factor leads away from 0
        ("lr", "uniform", [1, 2], 1.5, [1.5 * 2**0.3, 1.5 / 2**0.3, 1.5 * 2**0.1, 1.5 / 2**0.1, 1.5315, 1.46914]),
        ("x", "qloguniform", [1, 1000, 1], 10, [100, 1, 32, 3]),
        ("x", "qloguniform", [1, 1000, 5], 1, [10, 5]),
        ("x", "lognormal", [0, 1], 1, [math.e, 1 / math.e, math.exp(0.3), math.exp(-0.3)]),
        ("x", "qlognormal", [0, 1, 1], 0, [1]),
        # other ranges move by shares of their width
        ("dropout", "uniform", [0, 0.5], 0.25, [0.4, 0.1, 0.3, 0.2, 0.265, 0.235]),
        ("momentum", "uniform", [0, 1], 0.9, [1, 0.6, 0.8, 0.93, 0.87]),
        ("x", "uniform", [-10, 10], 10, [4, 8, 9.4]),
        ("x", "uniform", [2, 2], 2, []),
        ("x", "quniform", [0, 100, 10], 50, [80, 20, 60, 40]),
        ("x", "quniform", [0, 10, 2.5], 5, [7.5, 2.5]),
        ("x", "quniform", [2, 10, 5], 2, [5]),
        ("x", "quniform", [0.5, 0.9, 2], 0.5, []),
        ("dropout", "quniform", [0, 0.5, 0.1], 0.3, [0.4, 0.1, 0.2]),
        # integers by one at least
        ("num_layers", "randint", [1, 5], 2, [3, 1]),
        ("x", "randint", [0, 100], 50, [80, 20, 60, 40, 53, 47]),
        ("x", "randint", [10, 11], 10, []),
        ("x", "randint", [0, 2], 1, [0]),
        # normal types by shares of sigma
        ("x", "normal", [0, 5], 1, [6, -4, 2.5, -0.5]),
        ("x", "qnormal", [0, 1, 5], 10, [15, 5]),
    ],
    ids="{!s:.30}".format,
)
def test_steps(name, type_, values, present, expected):
    assert steps_of(name, type_, values, present) == pytest.approx(expected, rel=1e-2)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["x", "lr", "dropout"]), CONTINUOUS_SPECS, st.integers(0, 2**32))
def test_every_step_lies_in_the_range_and_leads_somewhere(name, spec, seed):
    (parameter,) = SearchSpace({name: spec}).parameters
    value = parameter.sample(np.random.default_rng(seed))
    found = steps(parameter, value)
    assert all(parameter.contains(json.loads(json.dumps(step, allow_nan=False))) for step in found)
    assert not any(same_value(step, value) for step in found)
    assert len({json.dumps(step) for step in found}) == len(found)
    is_a_point = parameter.n_values() == 1 or math.isclose(parameter.low, parameter.high, rel_tol=1e-9)
    assert found or is_a_point


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["randint", "quniform"]), st.integers(-20, 20), st.integers(2, 30))
def test_steps_reach_every_value_of_a_finite_range(type_, low, n):
    values = [low, low + n] if type_ == "randint" else [low, low + n, 1]
    (parameter,) = SearchSpace({"x": {"_type": type_, "_value": values}}).parameters
    reached, waiting = set(), [low]
    while waiting:
        value = waiting.pop()
        if value not in reached:
            reached.add(value)
            waiting += steps(parameter, value)
    everything = set(parameter.enumerate())
    # the smallest step is 3 % of the range, at least 1
    assert reached == everything
