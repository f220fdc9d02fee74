"""The policy: which action comes next, why others are passed over, and what is left when all are used."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_dream.search.conditions import Condition
from nni_dream.search.json_values import canonical_json
from nni_dream.search.policy import suggest_repair, suggest_unseen
from nni_dream.search.priorities import PriorityTable, load_priority_table
from nni_dream.search.space import SearchSpace
from nni_dream.search.suggestions import Candidate, Origin, SkippedAction
from nni_dream.search.table_words import TableWords


def choice(*values):
    return {"_type": "choice", "_value": list(values)}


# A small part of the paper's image space.
PRETRAINED = choice({"_name": True, "trainable": choice(True, False)}, {"_name": False})
SPACE = SearchSpace(
    {
        "block_type": choice(
            {"_name": "vanilla", "separable": choice(True, False)},
            {"_name": "xception", "pretrained": PRETRAINED, "imagenet_size": choice(True, False)},
            {"_name": "resnet", "pretrained": PRETRAINED, "imagenet_size": choice(True, False)},
        ),
        "optimizer": choice({"_name": "adam"}, {"_name": "sgd", "momentum": choice(0.1, 0.9)}),
        "learning_rate": choice(0.1, 0.01, 0.001),
    }
)
PAPER = load_priority_table("paper_table2")
MODEL_1 = {
    "block_type": {"_name": "vanilla", "separable": True},
    "optimizer": {"_name": "adam"},
    "learning_rate": 0.001,
}


def candidate(configuration, condition, *, number=0, score=0.5):
    return Candidate(number, configuration, Condition.parse(condition), score)


def repair(of, space=SPACE, *, table=PAPER, strategy="static", applied=(), known=None, seed=0):
    known = {canonical_json(of.configuration): "tried"} if known is None else known
    rng = np.random.default_rng(seed)
    words = TableWords(space, table)
    return suggest_repair(of, space, table, words=words, strategy=strategy, applied=applied, known=known, rng=rng)


def table_of(*actions, condition="OA-NC-NG-NW"):
    rows = [{"condition": condition, "actions": [{"object": object_, "value": value} for object_, value in actions]}]
    return PriorityTable.model_validate({"version": 1, "task": "test", "source": "here", "rows": rows})


def reasons(suggestion):
    return {skipped.action: skipped.why for skipped in suggestion.origin.skipped}


# --- the paper's Example 1 (section 4.2.3)


def test_example_1_model_2_becomes_an_xception():
    suggestion = repair(candidate(MODEL_1, "OA-NC-NG-NW", score=0.52))
    assert suggestion.origin.action == "block_type=xception"
    assert (suggestion.origin.rank, suggestion.origin.level) == (1, "OA-NC-NG-NW")
    assert suggestion.origin.skipped == ()
    assert suggestion.configuration["block_type"]["_name"] == "xception"


def test_example_1_model_3_skips_pretrained_and_takes_trainable():
    block = {"_name": "xception", "pretrained": {"_name": True, "trainable": False}, "imagenet_size": False}
    suggestion = repair(candidate({**MODEL_1, "block_type": block}, "XA-NC-NG-NW", number=1, score=0.78))
    assert suggestion.origin.action == "trainable=true"
    assert suggestion.origin.rank == 2
    assert SkippedAction("pretrained=true", "is so already") in suggestion.origin.skipped
    assert suggestion.configuration["block_type"] == {**block, "pretrained": {"_name": True, "trainable": True}}


def test_example_1_model_4_takes_imagenet_size():
    block = {"_name": "xception", "pretrained": {"_name": True, "trainable": True}, "imagenet_size": False}
    suggestion = repair(candidate({**MODEL_1, "block_type": block}, "XA-NC-NG-NW", number=2, score=0.82))
    assert suggestion.origin.action == "imagenet_size=true"
    assert suggestion.origin.rank == 3
    assert suggestion.configuration == {**MODEL_1, "block_type": {**block, "imagenet_size": True}}


# --- passing over


def test_an_action_that_needs_another_architecture_is_skipped():
    suggestion = repair(candidate(MODEL_1, "OA-NC-NG-NW"), table=table_of(("trainable", True), ("learning_rate", 0.1)))
    assert suggestion.origin.action == "learning_rate=0.1"
    assert suggestion.origin.skipped == (
        SkippedAction("trainable=true", 'needs block_type="xception"'),
        SkippedAction("trainable=true", 'needs block_type="resnet"'),
    )


def test_an_action_that_the_space_does_not_know_is_skipped():
    table = table_of(("version", "b7"), ("learning_rate", 0.5), ("learning_rate", 0.1))
    suggestion = repair(candidate(MODEL_1, "OA-NC-NG-NW"), table=table)
    assert reasons(suggestion) == {
        "version=b7": "not in the search space",
        "learning_rate=0.5": "not in the search space",
    }
    assert suggestion.origin.rank == 3


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (("learning_rate", 0.1), ("learning_rate", 0.1, 0.001)),
        (("separable", False), ("separable", "false", "true")),
        (("momentum", 0.9), ("momentum", 0.9, None)),  # Adam has none
    ],
)
def test_a_repair_says_what_it_changes_and_what_was_there(action, told):
    origin = repair(candidate(MODEL_1, "OA-NC-NG-NW"), table=table_of(action)).origin
    assert (origin.object, origin.value, origin.before) == told


def test_an_action_that_changes_nothing_is_skipped():
    table = table_of(("learning_rate", 0.001), ("learning_rate", 0.1))
    assert reasons(repair(candidate(MODEL_1, "OA-NC-NG-NW"), table=table)) == {"learning_rate=0.001": "is so already"}


@pytest.mark.parametrize(("state", "verb"), [("tried", "was tried"), ("running", "is running")])
def test_an_action_whose_result_is_known_is_skipped(state, verb):
    table = table_of(("learning_rate", 0.01), ("learning_rate", 0.1))
    known = {canonical_json({**MODEL_1, "learning_rate": 0.01}): state}
    suggestion = repair(candidate(MODEL_1, "OA-NC-NG-NW"), table=table, known=known)
    assert reasons(suggestion) == {"learning_rate=0.01": f"its configuration {verb}"}
    assert suggestion.configuration["learning_rate"] == 0.1


def test_an_action_that_was_applied_to_this_candidate_is_skipped():
    of = candidate(MODEL_1, "OA-NC-NG-NW", number=7)
    first = repair(of)
    second = repair(of, applied={first.origin.key})
    assert reasons(second)["block_type=xception"] == "already applied to trial 7"
    assert second.origin.action == "separable=false"


def test_several_trials_at_once_take_the_next_actions_in_order():
    of, applied, known, actions = candidate(MODEL_1, "OA-SC-DG-NW"), set(), {}, []
    for _ in range(4):
        suggestion = repair(of, applied=applied, known=known)
        applied.add(suggestion.origin.key)
        known[canonical_json(suggestion.configuration)] = "running"
        actions.append(suggestion.origin.action)
    # the candidate's own learning rate, 0.001, is third in the paper's row and changes nothing
    assert actions[:3] == ["block_type=xception", "learning_rate=0.01", "optimizer=sgd"]


def test_premises_within_the_architecture_are_no_obstacle():
    suggestion = repair(candidate(MODEL_1, "OA-NC-NG-NW"), table=table_of(("momentum", 0.9)))
    assert suggestion.configuration["optimizer"] == {"_name": "sgd", "momentum": 0.9}


@pytest.mark.parametrize("momenta", [[0.1], [0.9], [0.1, 0.9], [0.9, 0.1]])
def test_a_newly_active_parameter_takes_the_tables_best(momenta):
    table = table_of(("optimizer", "sgd"), *(("momentum", momentum) for momentum in momenta))
    suggestion = repair(candidate(MODEL_1, "OA-NC-NG-NW"), table=table)
    assert suggestion.configuration["optimizer"] == {"_name": "sgd", "momentum": momenta[0]}


def test_a_newly_active_parameter_that_the_table_does_not_know_is_drawn():
    """A learning rate of 0.1 says nothing of a momentum."""
    of, table = candidate(MODEL_1, "OA-NC-NG-NW"), table_of(("optimizer", "sgd"), ("learning_rate", 0.1))
    drawn = {repair(of, table=table, seed=seed).configuration["optimizer"]["momentum"] for seed in range(20)}
    assert drawn == {0.1, 0.9}


# --- beyond the table


def all_repairs(of, *, table=PAPER, strategy="static", seed=0):
    """Every repair of one candidate, until there is none."""
    applied, known, found = set(), {canonical_json(of.configuration): "tried"}, []
    while (
        suggestion := repair(of, table=table, strategy=strategy, applied=applied, known=known, seed=seed)
    ) is not None:
        applied.add(suggestion.origin.key)
        known[canonical_json(suggestion.configuration)] = "tried"
        found.append(suggestion)
    return found


def test_actions_that_the_table_does_not_rank_come_after_it():
    found = all_repairs(candidate(MODEL_1, "OA-NC-NG-NW"), table=table_of(("learning_rate", 0.1), ("separable", False)))
    ranks = [suggestion.origin.rank for suggestion in found]
    assert ranks == [1, 2] + [None] * (len(found) - 2)
    assert {"block_type=xception", "block_type=resnet", "learning_rate=0.01"} < set(actions_of(found[2:]))
    assert all(suggestion.origin.level is suggestion.origin.priority is None for suggestion in found[2:])
    skipped = [skipped.action for skipped in found[-1].origin.skipped]
    assert skipped.count("learning_rate=0.1") == skipped.count("learning_rate=0.01") == 1


def actions_of(suggestions):
    return [suggestion.origin.action for suggestion in suggestions]


def test_when_everything_is_used_there_is_no_repair():
    of = candidate(MODEL_1, "OA-NC-NG-NW")
    found = all_repairs(of)
    identities = {canonical_json(suggestion.configuration) for suggestion in found}
    assert len(identities) == len(found) > 0
    assert canonical_json(MODEL_1) not in identities
    assert (
        repair(of, applied={suggestion.origin.key for suggestion in found}, known=dict.fromkeys(identities, "tried"))
        is None
    )


def test_backing_off_is_said():
    suggestion = repair(candidate(MODEL_1, "OA-NC-VG-NW"))
    assert (suggestion.origin.condition, suggestion.origin.level) == ("OA-NC-VG-NW", "OA-NC-*-*")


# --- strategy and seed


def test_the_random_strategy_uses_no_rank_of_the_table():
    of = candidate(MODEL_1, "OA-NC-NG-NW")
    found = [repair(of, strategy="random", seed=seed) for seed in range(40)]
    assert {suggestion.origin.rank for suggestion in found} == {None}
    assert {suggestion.origin.priority for suggestion in found} == {None}
    assert len(set(actions_of(found))) > 4


@pytest.mark.parametrize("strategy", ["static", "random"])
def test_both_strategies_reach_every_action_that_means_something_here(strategy):
    found = set(actions_of(all_repairs(candidate(MODEL_1, "OA-NC-NG-NW"), strategy=strategy)))
    blocks = {"block_type=xception", "block_type=resnet", "separable=false"}
    rest = {"momentum=0.1", "momentum=0.9", "learning_rate=0.1", "learning_rate=0.01"}
    assert blocks <= found
    assert len(found & rest) >= 3  # optimizer=sgd may bring a momentum first
    assert found <= blocks | rest | {"optimizer=sgd"}


@pytest.mark.parametrize("strategy", ["static", "random"])
def test_the_same_seed_gives_the_same_repairs(strategy):
    of = candidate(MODEL_1, "OA-NC-NG-NW")
    assert all_repairs(of, strategy=strategy, seed=5) == all_repairs(of, strategy=strategy, seed=5)


def test_another_seed_gives_another_random_order():
    of = candidate(MODEL_1, "OA-NC-NG-NW")
    orders = {tuple(actions_of(all_repairs(of, strategy="random", seed=seed))) for seed in range(5)}
    assert len(orders) > 1


CONDITIONS = st.tuples(
    st.sampled_from(["RA", "EA", "XA", "NA", "TA", "OA"]),
    st.sampled_from(["SC", "NC", "*"]),
    st.sampled_from(["VG", "EG", "DG", "NG", "*"]),
    st.sampled_from(["EW", "NW", "*"]),
).map("-".join)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), CONDITIONS, st.sampled_from(["static", "random"]))
def test_every_suggestion_lies_in_the_space_and_is_new(seed, condition, strategy):
    configuration = SPACE.sample(np.random.default_rng(seed))
    suggestion = repair(candidate(configuration, condition), strategy=strategy, seed=seed)
    SPACE.check(suggestion.configuration)
    assert canonical_json(suggestion.configuration) != canonical_json(configuration)
    assert suggestion.origin.kind == "action"
    assert suggestion.origin.condition == condition


# --- what was not suggested yet

SMALL = SearchSpace({"x": choice(1, 2, True), "y": {"_type": "randint", "_value": [0, 5]}})


def test_unseen_finds_every_configuration_and_then_none():
    known, rng = set(), np.random.default_rng(0)
    for _ in range(15):
        suggestion = suggest_unseen(SMALL, known, rng, "why")
        SMALL.check(suggestion.configuration)
        known.add(canonical_json(suggestion.configuration))
    assert len(known) == 15
    assert suggest_unseen(SMALL, known, rng, "why") is None


def test_unseen_finds_the_last_configuration_of_a_space_too_large_to_hit():
    space = SearchSpace({"x": {"_type": "randint", "_value": [0, 20_000]}})
    known = {canonical_json({"x": value}) for value in range(20_000) if value != 12_345}
    suggestion = suggest_unseen(space, known, np.random.default_rng(0), "why")
    assert suggestion.configuration == {"x": 12_345}


def test_unseen_gives_up_on_a_continuous_space_that_yields_nothing_new():
    space = SearchSpace({"x": {"_type": "qnormal", "_value": [0, 0.01, 1]}})
    assert suggest_unseen(space, {canonical_json({"x": 0})}, np.random.default_rng(0), "why") is None


def test_unseen_finds_the_last_step_of_a_range():
    space = SearchSpace({"x": {"_type": "quniform", "_value": [0, 1, 0.0001]}})
    known = {canonical_json(configuration) for configuration in space.enumerate()}
    known.remove(canonical_json({"x": 1}))
    assert suggest_unseen(space, known, np.random.default_rng(0), "why").configuration == {"x": 1}
    assert suggest_unseen(space, {*known, canonical_json({"x": 1})}, np.random.default_rng(0), "why") is None


def test_unseen_says_why():
    suggestion = suggest_unseen(SMALL, set(), np.random.default_rng(0), "no trial has a score yet")
    assert str(suggestion.origin) == "random: no trial has a score yet"


def test_unseen_draws_the_same_from_the_same_seed():
    one, other = (suggest_unseen(SPACE, set(), np.random.default_rng(9), "") for _ in range(2))
    assert one == other


# --- what is said of a suggestion


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (Origin("initial"), "initial"),
        (Origin("foreign", "not suggested by this tuner"), "foreign: not suggested by this tuner"),
        (
            Origin(
                "action", candidate=3, condition="OA-NC-NG-NW", action="lr=1", rank=2, priority=0.5, level="OA-NC-*-*"
            ),
            "candidate 3 is OA-NC-NG-NW: lr=1 (rank 2, priority 0.5, from OA-NC-*-*)",
        ),
        (
            Origin("action", candidate=3, condition="*-*-*-*", action="lr=1", skipped=(SkippedAction("a", "b"),)),
            "candidate 3 is *-*-*-*: lr=1 (unranked, 1 skipped before it)",
        ),
        (
            Origin("action", candidate=3, condition="*-*-*-*", action="lr=1", estimate=0.25, interval=(-0.1, 0.6), n=4),
            "candidate 3 is *-*-*-*: lr=1 (expected gain 0.25, 95% in -0.1 to 0.6, n = 4)",
        ),
    ],
    ids=["plain", "note", "ranked", "unranked", "learned"],
)
def test_an_origin_reads_as_a_sentence(origin, expected):
    assert str(origin) == expected
