import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_dream.search.actions import Action
from nni_dream.search.space import SearchSpace
from nni_dream.search.surface import LENGTHS, N_BEST, N_LATEST, ScoreSurface


def uniform(low, high):
    return {"_type": "uniform", "_value": [low, high]}


PLANE = SearchSpace({"x": uniform(-10, 10), "y": uniform(0, 1)})
NESTED = SearchSpace(
    {
        "kind": {"_type": "choice", "_value": [{"_name": "a", "x": uniform(0, 1)}, {"_name": "b"}]},
        "rate": {"_type": "loguniform", "_value": [1e-5, 1]},
        "width": {"_type": "normal", "_value": [0, 3]},
    }
)


def action(space, name, value):
    (parameter,) = [parameter for parameter in space.walk() if parameter.name == name]
    return Action(parameter, value)


def surface_of(space, trials):
    surface = ScoreSurface(space)
    for number, (configuration, score) in enumerate(trials):
        surface.learn(number, configuration, score)
    return surface


def line(xs, score):
    return [({"x": x, "y": 0.5}, score(x)) for x in xs]


def gain(surface, start, name, value, space=PLANE):
    (estimate,) = surface.gains(start, [action(space, name, value)])
    return estimate


def test_a_step_that_failed_speaks_for_the_other_direction():
    surface = surface_of(PLANE, line([-6, -4, 0, 2], lambda x: -abs(x + 8)))
    start = {"x": -6, "y": 0.5}
    assert gain(surface, start, "x", -8).mean > 0 > gain(surface, start, "x", 2).mean


def test_gains_are_in_units_of_the_score_whatever_its_size():
    small = surface_of(PLANE, line([-5, 0, 5], lambda x: x))
    large = surface_of(PLANE, line([-5, 0, 5], lambda x: 1000 * x + 7))
    one, other = (gain(surface, {"x": 0, "y": 0.5}, "x", 5) for surface in (small, large))
    assert (other.mean, other.deviation, other.scatter) == pytest.approx(
        (1000 * one.mean, 1000 * one.deviation, 1000 * one.scatter)
    )
    assert one.mean == pytest.approx(5, rel=0.1)
    assert one.n == 3


def test_several_steps_at_once_gain_what_each_does_alone():
    surface, start = surface_of(PLANE, line([-6, -4, 0, 2], lambda x: -abs(x + 8))), {"x": -6, "y": 0.5}
    steps = [("x", -8), ("x", 2), ("y", 0.9)]
    together = surface.gains(start, [action(PLANE, *step) for step in steps])
    for found, step in zip(together, steps, strict=True):
        alone = gain(surface, start, *step)
        assert (found.mean, found.deviation) == pytest.approx((alone.mean, alone.deviation))


def test_what_was_not_tried_is_uncertain():
    surface = surface_of(PLANE, line([0, 1, 2, 3], lambda x: x))
    near, far = (gain(surface, {"x": 3, "y": 0.5}, "x", x) for x in (2, 10))
    other = gain(surface, {"x": 3, "y": 0.5}, "y", 1)
    assert near.deviation < far.deviation
    assert near.deviation < other.deviation


def test_equal_scores_do_not_say_that_everything_is_flat():
    """As certain as the size of gains allows, which the scores do not tell."""
    flat = surface_of(PLANE, line([-5, 0, 5], lambda x: 0.1))
    (estimate,) = flat.gains({"x": 0, "y": 0.5}, [action(PLANE, "x", 10)], unit=0.2)
    assert gain(flat, {"x": 0, "y": 0.5}, "x", 10).deviation < 1e-5 < 0.02 < estimate.deviation < 0.2


def test_scores_that_differ_by_more_than_gains_tell_the_size_themselves():
    steep, start, step = surface_of(PLANE, line([-5, 0, 5], lambda x: x)), {"x": 0, "y": 0.5}, action(PLANE, "x", 10)
    assert steep.gains(start, [step], unit=0.2) == steep.gains(start, [step])


def test_the_posterior_is_that_of_the_textbook():
    """Algorithm 2.1 written out with an inverse, for the lengths and noises that were found likeliest."""
    xs, scores = np.array([-8.0, -3.0, 1.0, 6.0]), np.array([1.0, 3.0, 2.0, -1.0])
    surface = surface_of(PLANE, [({"x": x, "y": 0.5}, score) for x, score in zip(xs, scores, strict=True)])
    estimate = gain(surface, {"x": 1.0, "y": 0.5}, "x", 3.0)
    fit = surface._fit

    def covariance(ones, others):
        alike = np.exp(-0.5 * ((ones[:, None] - others[None]) / 20 / fit.length) ** 2)
        return 0.5 * (alike + 1) / 2 + 0.5 * alike  # y is the same everywhere

    inverse = np.linalg.inv(covariance(xs, xs) + fit.noise * np.eye(4))
    points = np.array([3.0, 1.0])
    mean = covariance(points, xs) @ inverse @ (scores - scores.mean())
    posterior = covariance(points, points) - covariance(points, xs) @ inverse @ covariance(xs, points)
    variance = posterior[0, 0] + posterior[1, 1] - 2 * posterior[0, 1]
    assert estimate.mean == pytest.approx(mean[0] - mean[1])
    assert estimate.deviation == pytest.approx(scores.std() * math.sqrt(variance))


def test_a_logarithmic_range_is_smooth_in_its_logarithm():
    trials = [({"kind": {"_name": "b"}, "rate": rate, "width": 0}, math.log10(rate)) for rate in (1e-5, 1e-3, 1e-1)]
    start = {"kind": {"_name": "b"}, "rate": 1e-3, "width": 0}
    surface = surface_of(NESTED, trials)
    up, down = (gain(surface, start, "rate", rate, NESTED).mean for rate in (1e-2, 1e-4))
    assert up == pytest.approx(-down)
    assert up > 0.5


def test_a_range_of_one_branch_says_nothing_of_the_other():
    trials = [({"kind": {"_name": "a", "x": x}, "rate": 0.1, "width": 0}, x) for x in (0.1, 0.5, 0.9)]
    surface = surface_of(NESTED, [*trials, ({"kind": {"_name": "b"}, "rate": 0.1, "width": 0}, 0.2)])
    assert gain(surface, {"kind": {"_name": "a", "x": 0.1}, "rate": 0.1, "width": 0}, "x", 0.9, NESTED).mean > 0
    assert gain(surface, {"kind": {"_name": "b"}, "rate": 0.1, "width": 0}, "rate", 0.2, NESTED).mean < 0.1


def test_what_makes_two_configurations_alike():
    """Half the mean over the parameters, half the product.  Other options are half alike, what only one has is not."""
    surface = ScoreSurface(NESTED)
    a, b = {"kind": {"_name": "a", "x": 0.5}}, {"kind": {"_name": "b"}}
    same = {"rate": 0.1, "width": 0}
    one, step, other = (
        surface._input(each) for each in (a | same, {"kind": {"_name": "a", "x": 0.75}} | same, b | same)
    )
    found = surface._covariance(np.array([one, other]), np.array([one, step, other]), 0.25)
    near = math.exp(-0.5)
    assert found[0] == pytest.approx([1, 0.5 * (3 + near) / 4 + 0.5 * near, 0.5 * (0.5 + 0 + 2) / 4])
    assert found[1, 2] == 1


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(0, 1), st.floats(1e-5, 1), st.floats(-20, 20)), min_size=2, max_size=12
    ),
    st.sampled_from(LENGTHS),
)
def test_every_covariance_can_be_one(values, length):
    """Else the Cholesky decomposition would fail: no eigenvalue is below zero."""
    surface = ScoreSurface(NESTED)
    rows = [
        surface._input({"kind": {"_name": "a", "x": x} if is_a else {"_name": "b"}, "rate": rate, "width": width})
        for is_a, x, rate, width in values
    ]
    covariance = surface._covariance(np.array(rows), np.array(rows), length)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    assert np.diag(covariance) == pytest.approx(1)


@pytest.mark.parametrize("scores", [[0.5, 0.5, 0.5], [0.0, 0.0], [1e300, -1e300, 0], [1e-300, 2e-300], [5.0]])
def test_awkward_scores(scores):
    surface = surface_of(PLANE, [({"x": number, "y": 0.5}, score) for number, score in enumerate(scores)])
    estimate = gain(surface, {"x": 0, "y": 0.5}, "x", 5)
    assert all(map(math.isfinite, (estimate.mean, estimate.deviation, estimate.scatter)))


def test_one_disaster_does_not_hide_the_rest():
    """A loss of a million beside losses near one: the others must still be told apart."""
    surface = surface_of(PLANE, [*line([-4, -2, 0, 2], lambda x: -abs(x - 2)), ({"x": 9, "y": 0.5}, -1e6)])
    assert gain(surface, {"x": 0, "y": 0.5}, "x", 2).mean > 0.5


def test_learns_on_after_it_was_asked():
    trials = line([-5, 0, 5], lambda x: x)
    surface, start = surface_of(PLANE, trials[:2]), {"x": 0, "y": 0.5}
    gain(surface, start, "x", 5)
    surface.learn(2, *trials[2])
    assert gain(surface, start, "x", 5) == gain(surface_of(PLANE, trials), start, "x", 5)


def test_a_score_that_changed_counts_once():
    once = surface_of(PLANE, line([0, 5], lambda x: x))
    twice = surface_of(PLANE, line([0, 5], lambda x: -x))
    for number, (configuration, score) in enumerate(line([0, 5], lambda x: x)):
        twice.learn(number, configuration, score)
    start = {"x": 0, "y": 0.5}
    assert gain(twice, start, "x", 5) == gain(once, start, "x", 5)


def test_a_failed_trial_counts_as_the_worst_of_all_whenever_it_failed():
    scored = line([-5, 0, 5], lambda x: x)
    failed = ({"x": 9, "y": 0.5}, None)
    start = {"x": 5, "y": 0.5}
    first, last = surface_of(PLANE, [failed, *scored]), surface_of(PLANE, [*scored, failed])
    as_bad = surface_of(PLANE, [*scored, ({"x": 9, "y": 0.5}, -5)])
    assert gain(first, start, "x", 8).mean == pytest.approx(gain(last, start, "x", 8).mean)
    assert gain(last, start, "x", 8) == gain(as_bad, start, "x", 8)


def test_only_failures_tell_nothing():
    surface = surface_of(PLANE, [({"x": 9, "y": 0.5}, None)])
    assert not surface.is_informed
    surface.learn(1, {"x": 5, "y": 0.5}, 0.1)
    assert surface.is_informed


def test_the_order_in_which_trials_end_makes_no_difference():
    """A resumed search enters its trials by their numbers, whatever ended first.  Many scores are equal."""
    rng = np.random.default_rng(0)
    trials = [(number, {"x": number / 10 - 10, "y": 0.5}, [0.1, 0.2, 0.3, None][number % 4]) for number in range(200)]
    in_order, shuffled = ScoreSurface(PLANE), ScoreSurface(PLANE)
    for trial in trials:
        in_order.learn(*trial)
    for index in rng.permutation(len(trials)):
        shuffled.learn(*trials[index])
    start = trials[2][1]
    assert shuffled._scores == in_order._scores
    assert gain(shuffled, start, "x", 3) == gain(in_order, start, "x", 3)


def test_the_best_and_the_latest_are_remembered():
    n = 300
    surface = surface_of(PLANE, [({"x": number / 15 - 10, "y": 0.5}, -abs(number - 50)) for number in range(n)])
    assert sorted(surface._scores) == [*range(50 - N_BEST // 2, 50 + N_BEST // 2), *range(n - N_LATEST, n)]
    assert surface._inputs.keys() == surface._scores.keys()


def test_a_space_without_ranges_has_nothing_to_learn():
    surface = surface_of(SearchSpace({"x": {"_type": "choice", "_value": [1, 2]}}), [({"x": 1}, 0.5)])
    assert not surface.is_informed
