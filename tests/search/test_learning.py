import math
from dataclasses import replace

import numpy as np
import pytest
from test_gains import subject, table  # `search` is also the name of a benchmark

from nni_dream.search.actions import Action, all_actions
from nni_dream.search.conditions import Condition
from nni_dream.search.gains import GainModel
from nni_dream.search.json_values import canonical_json
from nni_dream.search.learning import N_TO_COMBINE, LearningPolicy
from nni_dream.search.space import SearchSpace
from nni_dream.search.suggestions import Candidate, Origin
from nni_dream.search.surface import ScoreSurface

SPACE = SearchSpace(
    {
        "learning_rate": {"_type": "choice", "_value": [0.1, 0.01, 0.001]},
        "dropout": {"_type": "choice", "_value": [0.0, 0.25, 0.5]},
        "optimizer": {
            "_type": "choice",
            "_value": [{"_name": "adam"}, {"_name": "sgd", "momentum": {"_type": "choice", "_value": [0.1, 0.9]}}],
        },
    }
)
START = {"learning_rate": 0.1, "dropout": 0.0, "optimizer": {"_name": "adam"}}
NORMAL = "OA-NC-NG-NW"
MEASURED = table(
    {
        NORMAL: [
            ("learning_rate", 0.01, 0.2, 20, 0.05),
            ("learning_rate", 0.001, 0.05, 20, 0.05),
            ("learning_rate", 0.1, -0.25, 20, 0.05),
            ("optimizer", "adam", 0.05, 20, 0.05),
            ("optimizer", "sgd", -0.05, 20, 0.05),
            ("momentum", 0.1, -0.05, 20, 0.05),
            ("momentum", 0.9, -0.05, 20, 0.05),
            ("dropout", 0.0, 0.05, 20, 0.05),
            ("dropout", 0.25, -0.05, 20, 0.05),
            ("dropout", 0.5, -0.1, 20, 0.05),
        ]
    }
)


def policy(model=None, mode="maximize", exploration="expected_improvement"):
    return LearningPolicy(SPACE, GainModel(MEASURED) if model is None else model, mode, exploration)


def candidate(number=0, score=0.5, configuration=START):
    return Candidate(number, configuration, Condition.parse(NORMAL), score)


def suggest(policy_, candidates=None, applied=None, known=None, share_left=0.5, seed=0):
    candidates = [candidate()] if candidates is None else candidates
    tried = {canonical_json(each.configuration): "tried" for each in candidates}
    return policy_.suggest(
        candidates,
        applied=applied or {},
        known=tried | (known or {}),
        share_left=share_left,
        rng=np.random.default_rng(seed),
    )


def action_origin(object_, value, number=0):
    return Origin("action", candidate=number, condition=NORMAL, object=object_, value=value)


def learn_results(learner, scores):
    """Scores of trials 20, 21, ... that were an action each on trial 0, whose score is 0.5."""
    learner.learn(0, Origin("initial"), 0.5, has_ended=True)
    for number, (text, score) in enumerate(scores.items(), start=20):
        (action,) = (action for action in all_actions(SPACE, START) if str(action) == text)
        origin = Origin(
            "action", candidate=0, condition=NORMAL, key=action.key, object=action.object, value=action.value
        )
        learner.learn(number, origin, score, has_ended=True)


def test_takes_the_action_that_promises_most_and_says_why():
    suggestion = suggest(policy())
    assert suggestion.configuration == {**START, "learning_rate": 0.01}
    origin = suggestion.origin
    assert (origin.kind, origin.candidate, origin.condition) == ("action", 0, NORMAL)
    assert (origin.action, origin.n) == ("learning_rate=0.01", 20)
    assert origin.interval[0] < origin.estimate < origin.interval[1]
    assert "expected gain" in str(origin)


@pytest.mark.parametrize("rule", ["expected_improvement", "thompson", "upper_confidence"])
def test_every_rule_gives_the_same_suggestion_for_the_same_seed(rule):
    one, other = (suggest(policy(exploration=rule)) for _ in range(2))
    assert one == other


def test_without_exploration_the_largest_mean_is_taken():
    """Thompson's draws are the means when no trial is left to profit from what they would show."""
    means = {suggest(policy(exploration="thompson"), share_left=0.0, seed=seed).origin.action for seed in range(20)}
    assert means == {"learning_rate=0.01"}
    learner = policy(GainModel(None), exploration="thompson")
    draws = {suggest(learner, share_left=0.7, seed=seed).origin.action for seed in range(20)}
    assert len(draws) > 1


@pytest.mark.parametrize("rule", ["thompson", "upper_confidence"])
def test_what_is_uncertain_is_preferred_as_long_as_trials_are_left(rule):
    """Nothing is known of `other`; `momentum` is known to gain a little."""
    space = SearchSpace({name: {"_type": "choice", "_value": [0, 1]} for name in ("momentum", "other")})
    gains = [("momentum", 1, 0.2, 50, 0.02), ("momentum", 0, -0.2, 50, 0.02), ("x", 0, -0.02, 50, 0.02)]
    learner = LearningPolicy(space, GainModel(table({NORMAL: gains})), "maximize", rule)
    start = [candidate(configuration={"momentum": 0, "other": 0})]

    def taken(share_left):
        return {suggest(learner, start, share_left=share_left, seed=seed).origin.action for seed in range(30)}

    assert taken(0.0) == {"momentum=1"}
    assert "other=1" in taken(0.7)


def test_a_large_gain_on_a_bad_trial_does_not_count_as_one():
    """The second is far behind: what repairs it would still be worse than the best."""
    best = candidate(0, 0.9, {**START, "learning_rate": 0.01})
    second = candidate(1, 0.1)  # whose learning rate is the worst
    assert suggest(policy(), [best, second]).origin.candidate == 0
    near = candidate(1, 0.9)
    assert suggest(policy(), [best, near]).origin.candidate == 1


def test_never_suggests_what_is_known_or_was_given():
    known, applied = {}, {0: set()}
    texts = []
    learner = policy()
    while (suggestion := suggest(learner, applied=applied, known=known)) is not None:
        identity = canonical_json(suggestion.configuration)
        assert identity not in known
        SPACE.check(suggestion.configuration)
        known[identity] = "running"
        applied[0].add(suggestion.origin.key)
        texts.append(suggestion.origin.action)
    singles = [text for text in texts if " + " not in text]
    assert {"learning_rate=0.01", "learning_rate=0.001", "dropout=0.25", "dropout=0.5", "momentum=0.9"} <= set(singles)


def test_goes_on_from_the_second_best_when_the_best_is_used_up():
    second = candidate(7, 0.49, {**START, "dropout": 0.5})
    applied = {0: {action.key for action in all_actions(SPACE, START)}}
    learner = policy()
    learn_results(learner, {"learning_rate=0.01": 0.1, "dropout=0.5": 0.1})
    origins = suggest(learner, [candidate(), second], applied).origin
    assert origins.candidate == 7


def test_pairs_are_of_actions_that_were_tried_alone_and_of_two_parameters():
    applied = {0: {action.key for action in all_actions(SPACE, START)}}
    learner = policy()
    assert suggest(learner, applied=applied) is None
    learn_results(learner, {"learning_rate=0.01": 0.5, "dropout=0.25": 0.49, "dropout=0.5": 0.48})
    suggestion = suggest(learner, applied=applied)
    one, other = suggestion.origin.action.split(" + ")
    assert one.split("=")[0] != other.split("=")[0]
    assert suggestion.origin.object is None
    assert suggestion.origin.key not in applied[0]


@pytest.mark.parametrize("rule", ["expected_improvement", "thompson", "upper_confidence"])
def test_a_loss_that_exploded_does_not_end_the_learning(rule):
    learner = policy(mode="minimize", exploration=rule)
    learner.learn(0, Origin("initial"), 0.5, has_ended=True, configuration=START)
    for number, score in enumerate((1e200, 1e308, None), start=1):
        learner.learn(number, action_origin("dropout", 0.5), score, has_ended=True, configuration=START)
    assert suggest(learner).origin.kind == "action"


def test_only_actions_with_the_best_results_are_paired():
    """Six of nine; nothing else tells them apart."""
    space = SearchSpace({f"x{i}": {"_type": "choice", "_value": [0, 1]} for i in range(9)})
    start = {f"x{i}": 0 for i in range(9)}
    learner = LearningPolicy(space, GainModel(None), "maximize", "expected_improvement")
    learner.learn(0, Origin("initial"), 0.5, has_ended=True)
    actions = {str(action): action for action in all_actions(space, start)}
    for number, i in enumerate((8, 0, 7, 1, 6, 2, 5, 3, 4), start=1):
        key = actions[f"x{i}=1"].key
        origin = Origin("action", candidate=0, condition=NORMAL, key=key, object=f"x{i}", value=1)
        learner.learn(number, origin, 0.4 + i / 100, has_ended=True)
    applied, texts = {0: {action.key for action in actions.values()}}, set()
    while (suggestion := suggest(learner, [candidate(configuration=start)], applied)) is not None:
        applied[0].add(suggestion.origin.key)
        texts |= set(suggestion.origin.action.split(" + "))
    assert texts == {f"x{i}=1" for i in range(9 - N_TO_COMBINE, 9)}


def test_a_pair_is_expected_to_gain_what_both_do():
    applied = {0: {action.key for action in all_actions(SPACE, START)}}
    learner = policy(GainModel(None))
    learn_results(learner, {"learning_rate=0.01": 0.5, "dropout=0.25": 0.49})
    learner.learn(30, action_origin("dropout", 0.25), 0.48, has_ended=True)
    origin = suggest(learner, applied=applied).origin
    one = learner.model.estimate(subject("learning_rate", 0.01), subject("learning_rate", 0.1))
    other = learner.model.estimate(subject("dropout", 0.25), subject("dropout", 0.0))
    assert origin.estimate == pytest.approx(one.mean + other.mean)
    assert half_width(origin) == pytest.approx(1.96 * math.hypot(one.deviation, other.deviation))
    assert (one.n, other.n, origin.n) == (1, 2, 1)


def half_width(origin):
    low, high = origin.interval
    return (high - low) / 2


def test_a_pair_teaches_nothing_about_either():
    learner = policy()
    before = learner.model.estimate(subject("dropout", 0.5), None)
    learner.learn(0, Origin("initial"), 0.5, has_ended=True)
    learner.learn(1, Origin("action", candidate=0, condition=NORMAL, action="a + b"), 0.9, has_ended=True)
    assert learner.model.estimate(subject("dropout", 0.5), None) == before


class TestDrawn:
    """The first 30 % of the planned trials, at most ten."""

    def test_begins_with_new_configurations(self):
        suggestion = suggest(policy(), share_left=1.0)
        SPACE.check(suggestion.configuration)
        assert (suggestion.origin.kind, suggestion.origin.candidate) == ("drawn", None)

    @pytest.mark.parametrize(("share_left", "kind"), [(0.71, "drawn"), (0.7, "action"), (0.0, "action")])
    def test_ends_with_its_share_of_the_trials(self, share_left, kind):
        assert suggest(policy(), share_left=share_left).origin.kind == kind

    @pytest.mark.parametrize(("n_known", "kind"), [(9, "drawn"), (10, "action")])
    def test_ends_with_ten_trials_however_many_are_planned(self, n_known, kind):
        known = {str(number): "tried" for number in range(n_known - 1)}  # and the candidate
        assert suggest(policy(), known=known, share_left=0.99).origin.kind == kind

    def test_prefers_what_is_probably_the_best(self):
        drawn = [suggest(policy(), share_left=1.0, seed=seed).configuration for seed in range(100)]
        n_good = sum(configuration["learning_rate"] == 0.01 for configuration in drawn)
        n_bad = sum(configuration["dropout"] == 0.5 for configuration in drawn)
        assert n_good > 60
        assert n_bad < 30

    def test_draws_evenly_what_nothing_is_known_of(self):
        drawn = [suggest(policy(GainModel(None)), share_left=1.0, seed=seed).configuration for seed in range(90)]
        for rate in (0.1, 0.01, 0.001):
            assert 15 <= sum(configuration["learning_rate"] == rate for configuration in drawn) <= 45

    def test_is_all_there_is_before_the_first_score(self):
        assert suggest(policy(), candidates=[], share_left=0.5).origin.kind == "drawn"

    def test_values_are_drawn_for_the_architecture_that_was_drawn_before_them(self):
        rates = {"RA-NC-NG-NW": (0.9, 0.1), "XA-NC-NG-NW": (0.1, 0.9)}
        rows = {
            condition: [("momentum", good, 0.3, 500, 0.01), ("momentum", bad, -0.3, 500, 0.01)]
            for condition, (good, bad) in rates.items()
        }
        options = {"block_type": ["resnet", "xception"], "momentum": [0.1, 0.9]}
        space = SearchSpace({name: {"_type": "choice", "_value": values} for name, values in options.items()})
        learner = LearningPolicy(space, GainModel(table(rows)), "maximize", "expected_improvement")
        drawn = [suggest(learner, [], share_left=1.0, seed=seed).configuration for seed in range(20)]
        good = {"resnet": 0.9, "xception": 0.1}
        assert sum(good[configuration["block_type"]] == configuration["momentum"] for configuration in drawn) > 15

    def test_gives_way_to_actions_when_everything_it_draws_is_known(self):
        space = SearchSpace({"dropout": {"_type": "choice", "_value": [0.0, 0.5]}})
        learner = LearningPolicy(space, GainModel(None), "maximize", "thompson")
        zero, half = ({"dropout": value} for value in (0.0, 0.5))
        known = {canonical_json(half): "running"}
        assert suggest(learner, [candidate(configuration=zero)], known=known, share_left=1.0) is None


class TestLearning:
    def gained(self, score, *, mode="maximize", has_ended=True, start=0.5):
        learner = policy(GainModel(None), mode)
        learner.learn(0, Origin("initial"), start, has_ended=True)
        learner.learn(1, action_origin("dropout", 0.5), score, has_ended=has_ended)
        return learner.model.estimate(subject("dropout", 0.5), None)

    def test_a_gain_is_good_news(self):
        assert self.gained(0.6).mean > 0 > self.gained(0.4).mean

    @pytest.mark.parametrize(("score", "sign"), [(0.6, -1), (0.4, 1)])
    def test_a_gain_is_bad_news_of_the_value_that_was_there(self, score, sign):
        learner = policy(GainModel(None))
        learner.learn(0, Origin("initial"), 0.5, has_ended=True)
        learner.learn(1, replace(action_origin("dropout", 0.5), before=0.0), score, has_ended=True)
        assert math.copysign(1, learner.model.estimate(subject("dropout", 0.0), None).mean) == sign

    def test_a_smaller_loss_is_good_news_when_minimising(self):
        assert self.gained(0.4, mode="minimize").mean > 0 > self.gained(0.6, mode="minimize").mean

    def test_a_trial_that_still_runs_is_no_news(self):
        assert self.gained(None, has_ended=False).n == 0

    def test_a_failed_trial_counts_as_the_worst_score(self):
        learner = policy(GainModel(None))
        learner.learn(0, Origin("initial"), 0.5, has_ended=True)
        learner.learn(1, Origin("random"), 0.1, has_ended=True)
        learner.learn(3, Origin("random"), 0.7, has_ended=True)
        learner.learn(2, action_origin("dropout", 0.5), None, has_ended=True)
        other = policy(GainModel(None))
        other.learn(0, Origin("initial"), 0.5, has_ended=True)
        other.learn(2, action_origin("dropout", 0.5), 0.1, has_ended=True)
        assert learner.model.estimate(subject("dropout", 0.5), None) == other.model.estimate(
            subject("dropout", 0.5), None
        )

    @pytest.mark.parametrize("order", [(1, 2, 3), (2, 1, 3), (1, 3, 2), (3, 2, 1)])
    def test_a_failed_trial_counts_as_the_worst_score_also_of_those_that_come_later(self, order):
        scores = {1: None, 2: 0.1, 3: 0.3}
        learner = policy(GainModel(None))
        learner.learn(0, Origin("initial"), 0.5, has_ended=True)
        for number in order:
            origin = action_origin("dropout", 0.5) if number == 1 else Origin("random")
            learner.learn(number, origin, scores[number], has_ended=True)
        known = policy(GainModel(None))
        known.learn(0, Origin("initial"), 0.5, has_ended=True)
        known.learn(1, action_origin("dropout", 0.5), 0.1, has_ended=True)
        about = subject("dropout", 0.5), None
        assert learner.model.estimate(*about) == known.model.estimate(*about)

    def test_a_failed_trial_whose_score_comes_after_all_counts_with_it(self):
        learner = policy(GainModel(None))
        learner.learn(0, Origin("initial"), 0.5, has_ended=True)
        learner.learn(1, action_origin("dropout", 0.5), None, has_ended=True)
        learner.learn(1, action_origin("dropout", 0.5), 0.6, has_ended=True)
        learner.learn(2, Origin("random"), 0.1, has_ended=True)
        assert learner.model.estimate(subject("dropout", 0.5), None).mean > 0

    def test_an_action_on_a_candidate_without_score_is_no_news(self):
        learner = policy(GainModel(None))
        learner.learn(1, action_origin("dropout", 0.5, number=0), 0.9, has_ended=True)
        assert learner.model.estimate(subject("dropout", 0.5), None).n == 0


def test_newly_active_parameters_take_what_probably_is_best():
    rows = {NORMAL: [("momentum", 0.9, 0.5, 50, 0.05), ("momentum", 0.1, -0.5, 50, 0.05)]}
    others = {action.key for action in all_actions(SPACE, START) if str(action) != "optimizer=sgd"}
    suggestion = suggest(policy(GainModel(table(rows))), applied={0: others})
    assert suggestion.configuration["optimizer"] == {"_name": "sgd", "momentum": 0.9}


@pytest.mark.parametrize(("name", "roles"), [("block_type", {}), ("model", {}), ("thing", {"thing": "architecture"})])
def test_a_table_is_known_whatever_the_space_calls_its_objects(name, roles):
    rows = {NORMAL: [("block_type", "xception", 0.3, 20, 0.05), ("block_type", "resnet", -0.3, 20, 0.05)]}
    options = ["resnet50", "resnet101", "Xception"]
    space = SearchSpace({name: {"_type": "choice", "_value": options}}, roles)
    learner = LearningPolicy(space, GainModel(table(rows)), "maximize", "expected_improvement")
    origin = suggest(learner, [candidate(configuration={name: "resnet50"})]).origin
    assert (origin.object, origin.value, origin.before, origin.n) == ("block_type", "xception", "resnet", 20)
    drawn = [suggest(learner, [], share_left=1.0, seed=seed).configuration[name] for seed in range(20)]
    assert drawn.count("Xception") > 15


def test_a_space_that_is_used_up_has_no_suggestion():
    space = SearchSpace({"dropout": {"_type": "choice", "_value": [0.5]}})
    learner = LearningPolicy(space, GainModel(None), "maximize", "thompson")
    assert suggest(learner, [candidate(configuration={"dropout": 0.5})]) is None


XS = range(-4, 5)


class TestRanges:
    """A range that no table tells of: what a step gains follows from the scores around it."""

    SPACE = SearchSpace({name: {"_type": "uniform", "_value": [-10, 10]} for name in ("x", "y")})

    def learned(self, score, xs=XS):
        learner = LearningPolicy(self.SPACE, GainModel(MEASURED), "maximize", "expected_improvement")
        for number, x in enumerate(xs):
            learner.learn(number, Origin("drawn"), score(x), has_ended=True, configuration={"x": float(x), "y": 0.0})
        return learner

    @pytest.mark.parametrize(("score", "direction"), [(lambda x: x, 1), (lambda x: -x, -1)])
    def test_the_direction_is_learned_from_trials_that_were_no_actions(self, score, direction):
        best = max(XS, key=score)
        start = candidate(0, score(best), {"x": float(best), "y": 0.0})
        suggestion = suggest(self.learned(score), [start])
        assert suggestion.configuration["y"] == 0.0
        assert math.copysign(1, suggestion.configuration["x"] - best) == direction
        assert suggestion.origin.estimate > 0
        assert suggestion.origin.n == len(XS)

    def test_a_trial_that_failed_counts_as_the_worst(self):
        learner, start = self.learned(lambda x: x), [candidate(8, 4.0, {"x": 4.0, "y": 0.0})]
        for has_ended in (False, True):
            assert suggest(learner, start).configuration["x"] == 6.0
            learner.learn(9, Origin("drawn"), None, has_ended=has_ended, configuration={"x": 6.5, "y": 0.0})
        assert suggest(learner, start).configuration["x"] < 6.0

    def test_a_range_that_a_table_tells_of_is_weighed_by_it(self):
        space = SearchSpace({"learning_rate": {"_type": "loguniform", "_value": [1e-5, 1]}})
        learner = LearningPolicy(space, GainModel(MEASURED), "maximize", "expected_improvement")
        learner.learn(0, Origin("drawn"), 0.5, has_ended=True, configuration={"learning_rate": 0.1})
        suggestion = suggest(learner, [candidate(0, 0.5, {"learning_rate": 0.1})])
        assert suggestion.configuration["learning_rate"] == pytest.approx(0.01)
        assert suggestion.origin.n == 20

    def test_the_table_and_the_places_are_weighed_by_their_certainty(self):
        space = SearchSpace({"learning_rate": {"_type": "loguniform", "_value": [1e-5, 1]}})
        learner = LearningPolicy(space, GainModel(MEASURED), "maximize", "expected_improvement")
        surface = ScoreSurface(space)
        for number, (rate, score) in enumerate([(1e-4, 0.3), (1e-3, 0.4), (0.1, 0.5)]):
            start = {"learning_rate": rate}
            learner.learn(number, Origin("drawn"), score, has_ended=True, configuration=start)
            surface.learn(number, start, score)
        suggestion = suggest(learner, [candidate(2, 0.5, start)])
        origin, (parameter,) = suggestion.origin, space.parameters
        action = Action(parameter, suggestion.configuration["learning_rate"])
        (place,) = surface.gains(start, [action], learner.model.unit)
        value = learner.model.estimate(*(subject(origin.object, each) for each in (origin.value, origin.before)))
        weights = value.deviation**-2, place.deviation**-2
        assert place.mean != pytest.approx(value.mean)
        assert origin.estimate == pytest.approx(np.average([value.mean, place.mean], weights=weights))
        assert half_width(origin) == pytest.approx(1.96 * sum(weights) ** -0.5)

    def test_what_the_scores_say_of_the_places_outweighs_the_table(self):
        """Higher rates were better in every trial, by more than the table's gains, which speak for 0.01."""
        space = SearchSpace({"learning_rate": {"_type": "loguniform", "_value": [1e-5, 1]}})
        learner = LearningPolicy(space, GainModel(MEASURED), "maximize", "expected_improvement")
        rates = [10 ** (exponent / 4) for exponent in range(-20, -5)]
        for number, rate in enumerate(rates):
            score = 5 + math.log10(rate)
            learner.learn(number, Origin("drawn"), score, has_ended=True, configuration={"learning_rate": rate})
        best = candidate(len(rates) - 1, 5 + math.log10(rates[-1]), {"learning_rate": rates[-1]})
        suggestion = suggest(learner, [best])
        assert suggestion.configuration["learning_rate"] > rates[-1]
        assert suggestion.origin.estimate > 0

    def test_the_value_of_a_table_is_within_reach_however_far_the_present_one_is(self):
        """Steps alone would go to 2e-4 at most."""
        space = SearchSpace({"lr": {"_type": "loguniform", "_value": [1e-5, 1]}})
        learner = LearningPolicy(space, GainModel(MEASURED), "maximize", "expected_improvement")
        assert suggest(learner, [candidate(configuration={"lr": 2e-5})]).configuration == {"lr": 0.01}
        drawn = [suggest(learner, share_left=1.0, seed=seed).configuration["lr"] for seed in range(20)]
        assert drawn.count(0.01) > 20 / 6, "one of six values, five of them spread over the range"


# --- what does nothing


def learn_inert(learner, action, number=20):
    """An action on trial 0, whose score is 0.5, changed nothing in the training."""
    learner.learn(0, Origin("initial"), 0.5, has_ended=True, configuration=START)
    origin = Origin("action", candidate=0, condition=NORMAL, key=action.key, object=action.object, value=action.value)
    changed = {**START, action.object: action.value}
    learner.learn(number, origin, 0.5, has_ended=True, configuration=changed, unchanged_from=START)


@pytest.mark.parametrize("rule", ["expected_improvement", "thompson", "upper_confidence"])
def test_other_values_of_what_did_nothing_are_not_tried_on_the_same_candidate(rule):
    learner = policy(exploration=rule)
    (action,) = (action for action in all_actions(SPACE, START) if str(action) == "learning_rate=0.01")
    learn_inert(learner, action)
    known, tried = {}, []
    while (suggestion := suggest(learner, known=known, applied={0: {action.key}})) is not None:
        known[canonical_json(suggestion.configuration)] = "running"
        tried.append(suggestion.configuration)
    assert {configuration["learning_rate"] for configuration in tried} == {0.1}
    assert len(tried) == 4, "two other dropouts, two momenta of the other optimizer"


def test_on_another_candidate_it_is_expected_to_gain_less():
    """One of two other parameters is another there: 0.2 becomes 0.1."""
    other = candidate(1, 0.6, {**START, "dropout": 0.25})
    known = suggest(policy(), [other]).origin
    learner = policy()
    (action,) = (action for action in all_actions(SPACE, START) if str(action) == "learning_rate=0.01")
    learn_inert(learner, action)
    doubted = suggest(learner, [other]).origin
    assert known.action == doubted.action == "learning_rate=0.01"
    assert doubted.estimate == pytest.approx(known.estimate / 2)
    spread = half_width(known) / 1.96
    assert half_width(doubted) == pytest.approx(1.96 * math.hypot(spread * math.sqrt(1 / 2), known.estimate / 2))


def test_what_did_nothing_tells_nothing_of_the_value():
    learner, untaught = policy(), policy()
    (action,) = (action for action in all_actions(SPACE, START) if str(action) == "learning_rate=0.01")
    learn_inert(learner, action)
    about = subject("learning_rate", 0.01), subject("learning_rate", 0.1)
    assert learner.model.estimate(*about) == untaught.model.estimate(*about)
