import math

import pytest

from nni_dream.search.conditions import Condition
from nni_dream.search.evidence import Subject
from nni_dream.search.gains import GainModel
from nni_dream.search.priorities import PriorityTable

SLOW = "OA-SC-NG-NW"
NORMAL = "OA-NC-NG-NW"


def subject(object_, value, condition=NORMAL):
    return Subject.of(Condition.parse(condition), object_, value)


def table(rows):
    """condition -> [(object, value, mean gain or None, n, standard deviation)]"""
    return PriorityTable.model_validate(
        {
            "version": 1,
            "task": "image",
            "source": "a test",
            "rows": [
                {
                    "condition": condition,
                    "actions": [
                        {"object": o, "value": v, "mean_gain": gain, "n": n, "standard_deviation": deviation}
                        for o, v, gain, n, deviation in actions
                    ],
                }
                for condition, actions in rows.items()
            ],
        }
    )


MEASURED = table(
    {
        NORMAL: [("learning_rate", 0.01, 0.2, 20, 0.05), ("dropout", 0.5, -0.1, 20, 0.05)],
        SLOW: [("learning_rate", 0.01, 0.25, 20, 0.05), ("dropout", 0.5, -0.2, 20, 0.05)],
    }
)


class TestTable:
    def test_orders_actions_as_it_measured_them(self):
        model = GainModel(MEASURED)
        assert model.estimate(subject("learning_rate", 0.01), None).mean > 0.1
        assert model.estimate(subject("dropout", 0.5), None).mean < -0.05

    def test_a_condition_of_its_own_counts_more_than_the_others(self):
        model = GainModel(MEASURED)
        slow, normal = (model.estimate(subject("learning_rate", 0.01, condition), None) for condition in (SLOW, NORMAL))
        assert slow.mean > normal.mean

    def test_a_condition_that_was_not_met_backs_off(self):
        model = GainModel(MEASURED)
        unmet = model.estimate(subject("learning_rate", 0.01, "OA-SC-VG-NW"), None)
        assert unmet.n == 0
        assert unmet.mean == pytest.approx(model.estimate(subject("learning_rate", 0.01, SLOW), None).mean, abs=0.05)

    def test_another_value_of_the_object_takes_after_it(self):
        model = GainModel(MEASURED)
        rate, dropout = (
            model.estimate(subject("learning_rate", 0.001), None),
            model.estimate(subject("dropout", 0.25), None),
        )
        assert rate.mean > 0 > dropout.mean
        assert rate.deviation > model.estimate(subject("learning_rate", 0.01), None).deviation

    def test_says_how_many_gains_it_knows_of_this_action_in_this_condition(self):
        assert GainModel(MEASURED).estimate(subject("dropout", 0.5), None).n == 20

    def test_more_models_are_believed_more(self):
        few = GainModel(table({NORMAL: [("momentum", 0.9, 0.3, 1, None), ("dropout", 0.5, 0.0, 50, 0.1)]}))
        many = GainModel(table({NORMAL: [("momentum", 0.9, 0.3, 50, 0.1), ("dropout", 0.5, 0.0, 50, 0.1)]}))
        one, other = (model.estimate(subject("momentum", 0.9), None) for model in (few, many))
        assert one.mean < other.mean
        assert one.deviation > other.deviation

    def test_gains_that_scattered_are_believed_less(self):
        def estimate(deviation):
            rows = {NORMAL: [("momentum", 0.9, 0.3, 10, deviation), ("dropout", 0.5, 0.0, 50, 0.1)]}
            return GainModel(table(rows)).estimate(subject("momentum", 0.9), None)

        assert estimate(0.6).mean / estimate(0.6).scatter < estimate(0.1).mean / estimate(0.1).scatter

    def test_gains_that_scatter_more_than_usual_count_for_fewer(self):
        """The usual variance is 0.02: nine gains with twice that count as six, with half of it as twelve."""
        objects = ("momentum", "dropout", "epsilon")
        scattered = [(name, 1, 0.3, 9, deviation) for name, deviation in zip(objects, (0.2, 0.1, 0.1), strict=True)]
        counted = [(name, 1, 0.3, n, None) for name, n in zip(objects, (6, 12, 12), strict=True)]
        model, plain = (GainModel(table({NORMAL: gains})) for gains in (scattered, counted))
        for name in objects:
            estimate, expected = (each.estimate(subject(name, 1), None) for each in (model, plain))
            assert estimate.mean == pytest.approx(expected.mean)
            assert estimate.deviation / model.unit == pytest.approx(expected.deviation / plain.unit)

    @pytest.mark.parametrize(
        ("object_", "scatter"),
        [
            pytest.param("dropout", 0.3 * math.sqrt(1 / 2), id="eight equal gains count as much as all gains"),
            pytest.param("momentum", 0.3, id="as far apart as all gains"),
            pytest.param("optimizer", 0.3, id="not in the table"),
        ],
    )
    def test_how_far_an_objects_own_gains_were_apart_counts_for_the_next_one(self, object_, scatter):
        gains = [("momentum", 0.9, 0.3, 4, None), ("momentum", 0.1, -0.3, 4, None), ("dropout", 0.5, 0.3, 8, None)]
        estimate = GainModel(table({NORMAL: gains})).estimate(subject(object_, 0.5), None)
        assert estimate.scatter == pytest.approx(scatter)

    def test_one_that_only_ranks_puts_the_first_first_and_the_unlisted_last(self):
        ranks = table({NORMAL: [("momentum", 0.9, None, None, None), ("dropout", 0.5, None, None, None)]})
        model = GainModel(ranks)
        means = [
            model.estimate(subject(*action), None).mean for action in (("momentum", 0.9), ("dropout", 0.5), ("x", 1))
        ]
        assert means == sorted(means, reverse=True)
        assert len(set(means)) == 3

    def test_ranks_are_as_far_apart_as_their_inverses(self):
        ranks = table({NORMAL: [(name, 1, None, None, None) for name in ("momentum", "dropout", "epsilon")]})
        model = GainModel(ranks)
        first, second, third = (
            model.estimate(subject(name, 1), None).mean for name in ("momentum", "dropout", "epsilon")
        )
        assert (first - second) / (second - third) == pytest.approx((1 - 1 / 2) / (1 / 2 - 1 / 3))

    def test_the_text_true_and_true_are_one_value(self):
        model = GainModel(table({NORMAL: [("trainable", True, 0.3, 9, 0.1), ("dropout", 0.5, 0.0, 9, 0.1)]}))
        assert model.estimate(subject("trainable", "true"), None) == model.estimate(subject("trainable", True), None)
        assert model.estimate(subject("trainable", "true"), None).n == 9


class TestSearch:
    def test_a_bad_result_lowers_the_action_then_its_siblings_then_the_rest(self):
        model = GainModel(MEASURED)
        actions = [subject("learning_rate", 0.01), subject("learning_rate", 0.001), subject("dropout", 0.5)]
        before = [model.estimate(action, None).mean for action in actions]
        model.learn(1, actions[0], None, -0.3)
        fallen = [old - model.estimate(action, None).mean for old, action in zip(before, actions, strict=True)]
        assert fallen[0] > fallen[1] > fallen[2]

    def test_a_result_narrows_the_interval(self):
        model = GainModel(None)
        before = model.estimate(subject("dropout", 0.5), None)
        model.learn(1, subject("dropout", 0.5), None, 0.05)
        after = model.estimate(subject("dropout", 0.5), None)
        assert after.deviation / model.unit < before.deviation / 0.05
        assert (before.n, after.n) == (0, 1)
        low, high = after.interval
        assert low < after.mean < high

    def test_the_same_trial_again_replaces_what_it_showed(self):
        model, other = GainModel(MEASURED), GainModel(MEASURED)
        model.learn(1, subject("dropout", 0.5), None, -0.9)
        model.learn(1, subject("dropout", 0.5), None, 0.1)
        other.learn(1, subject("dropout", 0.5), None, 0.1)
        assert model.estimate(subject("dropout", 0.5), None).mean == pytest.approx(
            other.estimate(subject("dropout", 0.5), None).mean, abs=0.01
        )

    def test_what_a_trial_showed_already_changes_nothing(self):
        model = GainModel(None)
        for trial, gain in enumerate([0.1, 0.11, 0.12, 0.09]):
            model.learn(trial, subject("dropout", 0.5), None, gain)
        before = model.estimate(subject("dropout", 0.5), None)
        model.learn(2, subject("dropout", 0.5), None, 0.12)
        assert model.estimate(subject("dropout", 0.5), None) == before

    def test_what_was_right_before_is_known_to_be_right(self):
        """Each change of the value made it worse: so will the next one."""
        model = GainModel(None)
        now = subject("learning_rate", 0.01)
        before = model.estimate(subject("learning_rate", 0.5), now)
        for trial, value in enumerate((0.1, 0.001, 1e-4)):
            model.learn(trial, subject("learning_rate", value), now, -0.3)
        after = model.estimate(subject("learning_rate", 0.5), now)
        other = model.estimate(subject("dropout", 0.5), subject("dropout", 0.0))
        assert after.mean < other.mean < before.mean

    def test_a_gain_depends_on_the_value_that_was_there(self):
        model = GainModel(MEASURED)
        good, bad = subject("learning_rate", 0.01), subject("dropout", 0.5)
        assert model.estimate(good, None).mean > 0
        assert model.estimate(good, good).mean == pytest.approx(0, abs=1e-12)
        assert model.estimate(subject("dropout", 0.1), bad).mean > model.estimate(subject("dropout", 0.1), None).mean

    def test_an_object_is_known_by_the_table_or_by_a_result(self):
        model = GainModel(MEASURED)
        assert (model.knows("dropout"), model.knows("optimizer")) == (True, False)
        model.learn(1, subject("optimizer", "adam"), None, 0.1)
        assert model.knows("optimizer")

    def test_many_results_outweigh_the_table(self):
        model = GainModel(MEASURED)
        for trial in range(90):
            model.learn(trial, subject("learning_rate", 0.01), None, -0.2)
            model.learn(100 + trial, subject("dropout", 0.5), None, 0.2)
        assert model.estimate(subject("dropout", 0.5), None).mean == pytest.approx(0.2, abs=0.05)
        assert model.estimate(subject("learning_rate", 0.01), None).mean == pytest.approx(-0.2, abs=0.05)

    @pytest.mark.parametrize(
        "now", [None, subject("learning_rate", 0.1)], ids=["nothing was there", "a value was there"]
    )
    @pytest.mark.parametrize(("n_gains", "believed"), [(4, 1 / 2), (12, 3 / 4)])
    def test_half_of_the_distance_to_the_table_is_believed_after_four_gains(self, now, n_gains, believed):
        """The best model is hard to improve, whatever the action."""
        model, about = GainModel(MEASURED), (subject("learning_rate", 0.01), now)
        told = model.estimate(*about).mean
        for trial in range(n_gains):
            model.learn(trial, *about, told - 0.05)
        unheard_of = subject("optimizer", "adam")
        assert model.estimate(unheard_of, unheard_of).mean == pytest.approx(-0.05 * believed, abs=0.002)

    def test_n_counts_the_gains_of_an_action_and_not_those_that_changed_it(self):
        model = GainModel(MEASURED)
        for trial in range(3):
            model.learn(trial, subject("dropout", 0.1), subject("dropout", 0.5), 0.1)
        assert model.estimate(subject("dropout", 0.5), None).n == 20, "of the table"
        assert model.estimate(subject("dropout", 0.1), None).n == 3
        model.learn(2, subject("dropout", 0.5), None, 0.1)
        assert model.estimate(subject("dropout", 0.5), None).n == 21
        assert model.estimate(subject("dropout", 0.1), None).n == 2

    def test_learns_the_size_of_gains_where_the_score_is_of_another_kind(self):
        model = GainModel(MEASURED, compares_in_size=False)
        for trial in range(50):
            model.learn(trial, subject("dropout", 0.5), None, 1000.0)
        assert model.unit == pytest.approx(1000, rel=0.2)
        assert model.estimate(subject("dropout", 0.5), None).mean == pytest.approx(1000, rel=0.2)

    @pytest.mark.parametrize("gain", [1e300, -1e300, math.inf, -math.inf])
    def test_a_gain_beyond_all_measure_is_no_error(self, gain):
        """A loss of 1e300 is finite, its square is not."""
        model = GainModel(MEASURED)
        model.learn(1, subject("dropout", 0.5), subject("dropout", 0.0), gain)
        model.learn(2, subject("learning_rate", 0.001), None, 0.1)
        estimate = model.estimate(subject("dropout", 0.5), None)
        assert all(map(math.isfinite, (estimate.mean, estimate.deviation, estimate.scatter, model.unit)))

    @pytest.mark.parametrize("place", [0, 3, 9], ids=["first", "among them", "last"])
    @pytest.mark.parametrize("exploded", [-1e6, 1e6, -math.inf])
    def test_one_gain_beyond_all_others_does_not_drown_them(self, place, exploded):
        """A loss of 1e6 beside losses of 0.5: a fall, or the way back from it."""
        gains = [0.1, -0.1, 0.12, -0.08, 0.1, -0.1, 0.09, 0.11, -0.1]
        gains.insert(place, exploded)
        model = GainModel(None, compares_in_size=False)
        for trial, gain in enumerate(gains):
            tried = subject("momentum", 0.9) if gain == exploded else subject("dropout", 0.5 if gain > 0 else 0.1)
            model.learn(trial, tried, None, gain)
        helps, hurts = (model.estimate(subject("dropout", value), None) for value in (0.5, 0.1))
        assert 0 < helps.mean - hurts.mean < 1
        assert helps.deviation < 1
        wild = model.estimate(subject("momentum", 0.9), None)
        assert wild.mean * exploded > 0
        assert abs(wild.mean) > abs(helps.mean)

    def test_a_gain_that_turns_out_to_be_beyond_all_others_is_replaced(self):
        model, other = GainModel(None), GainModel(None)
        for trial in range(8):
            model.learn(trial, subject("dropout", 0.5), None, 1e6 if trial == 3 else 0.1)
            other.learn(trial, subject("dropout", 0.5), None, 0.1)
        model.learn(3, subject("dropout", 0.5), None, 0.1)
        assert model.estimate(subject("dropout", 0.5), None).mean == pytest.approx(
            other.estimate(subject("dropout", 0.5), None).mean
        )

    def test_gains_that_are_corrected_together_are_as_if_each_had_been_known_from_the_start(self):
        model, other = GainModel(MEASURED), GainModel(MEASURED)
        corrected = {1: -0.4, 3: -0.3, 4: -math.inf}
        for trial, gain in enumerate([0.1, -0.1, 0.05, -0.1, -0.2]):
            about = subject("dropout", 0.1 * (trial % 2)), subject("dropout", 0.5)
            model.learn(trial, *about, gain)
            other.learn(trial, *about, corrected.get(trial, gain))
        model.correct(corrected)
        model.correct({})
        for value in (0.0, 0.1, 0.5):
            about = subject("dropout", value), subject("dropout", 0.5)
            assert model.estimate(*about).mean == pytest.approx(other.estimate(*about).mean)

    @pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e6])
    @pytest.mark.parametrize("known", [None, MEASURED], ids=["no table", "a table of another kind of score"])
    def test_where_no_table_tells_the_size_of_gains_any_size_is_as_good(self, known, size):
        """A loss of 0.0002 or of 2,000: what is believed grows with it, the order of actions does not change."""
        gains = [0.0, 0.3, -0.2, 0.0, 1.5, -0.1, -1e9, 0.05, -0.02, 0.0, 0.01, -0.03, 0.02]
        model, plain = (GainModel(known, compares_in_size=False) for _ in range(2))
        for trial, gain in enumerate(gains):
            about = subject("dropout", 0.1 * trial), subject("dropout", 0.5)
            model.learn(trial, *about, size * gain)
            plain.learn(trial, *about, gain)
        for about in [(subject("dropout", 0.1), subject("dropout", 0.5)), (subject("momentum", 0.9), None)]:
            estimate, expected = model.estimate(*about), plain.estimate(*about)
            assert estimate.mean / size == pytest.approx(expected.mean)
            assert estimate.deviation / size == pytest.approx(expected.deviation)
            assert estimate.scatter / size == pytest.approx(expected.scatter)

    def test_the_size_of_the_first_gains_is_not_forgotten(self):
        """After eight gains of 1 a thousand without any: sqrt((8 + 8) / (8 + 1008))."""
        model = GainModel(None)
        for trial in range(1008):
            model.learn(trial, subject("dropout", 0.5), None, 1.0 if trial < 8 else 0.0)
        assert model.unit == pytest.approx(math.sqrt(16 / 1016))

    @pytest.mark.parametrize(
        ("scores", "unit"),
        [([1, 2, 3, 4, 1e300], 0.1), ([-100, -200, -300], 10), ([0.5, 0.5, 0.5], 0.05), ([0.5], 0.05), ([], 0.05)],
    )
    def test_before_any_gain_the_spread_of_scores_tells_the_size(self, scores, unit):
        """A tenth of their median distance from the median; where there is none 0.05."""
        model = GainModel(None)
        model.guess_size(scores)
        assert model.unit == pytest.approx(unit)
        assert model.estimate(subject("dropout", 0.5), None).scatter == pytest.approx(unit)

    def test_gains_and_measured_tables_tell_more_than_the_spread_of_scores(self):
        model, measured = GainModel(None), GainModel(MEASURED)
        model.learn(1, subject("dropout", 0.5), None, 0.3)
        before = model.unit, measured.unit
        for each in (model, measured):
            each.guess_size([1, 2, 3])
        assert (model.unit, measured.unit) == before

    def test_gains_of_nothing_leave_the_size_as_it_was(self):
        model = GainModel(None)
        before = model.unit
        for trial in range(3):
            model.learn(trial, subject("dropout", 0.5), None, 0.0)
        assert model.estimate(subject("dropout", 0.1), None).deviation > 0
        assert 0 < model.unit <= before

    def test_gains_of_a_score_of_another_size_are_no_outliers(self):
        """Losses of some hundreds: the size of gains is learned, however far it is from the first guess."""
        model = GainModel(None, compares_in_size=False)
        for trial in range(30):
            model.learn(trial, subject("dropout", 0.5), None, 300.0)
        assert model.estimate(subject("dropout", 0.5), None).mean == pytest.approx(300, rel=0.2)

    def test_without_a_table_and_results_all_actions_are_equal(self):
        model = GainModel(None)
        one, other = (
            model.estimate(subject("dropout", 0.5), None),
            model.estimate(subject("optimizer", "adam", SLOW), None),
        )
        assert one == other
        assert one.mean == 0
        assert math.isfinite(one.deviation)
