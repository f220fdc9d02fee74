from collections import Counter
from itertools import islice

from priority_building.example import SPACE

from nni_dream.priority_building.plan import plan_trainings, seed_models
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import SearchSpace


def plan(n_models=4, seed=0, space=SPACE):
    return list(plan_trainings(SearchSpace(space), n_models, seed))


def test_seed_models_are_different_and_in_the_space():
    space = SearchSpace(SPACE)
    models = seed_models(space, 6, seed=0)
    for model in models:
        space.check(model)
    assert len({canonical_json(model) for model in models}) == 6


def test_a_small_space_has_fewer_seed_models():
    assert len(seed_models(SearchSpace({"x": {"_type": "choice", "_value": [1, 2]}}), 5, seed=0)) == 2


def test_seed_models_come_first_then_every_action_that_changes_one():
    planned = plan()
    assert [training.action for training in planned[:4]] == [None] * 4
    models = [training.configuration for training in planned[:4]]
    for training in planned[4:]:
        SearchSpace(SPACE).check(training.configuration)
        assert training.configuration != models[training.model]
    rates = {(training.model, str(training.action)) for training in planned if "learning_rate" in str(training.action)}
    assert len(rates) == 4 * 2  # of three values a model has one


def test_an_action_that_needs_another_architecture_is_left_out():
    resnets = {t.model for t in plan()[:4] if t.configuration["block_type"]["_name"] == "resnet"}
    assert not [t for t in plan() if t.model in resnets and "filters" in str(t.action)]


def test_the_same_seed_gives_the_same_plan_and_another_seed_another():
    assert [t.key for t in plan()] == [t.key for t in plan()]
    assert [t.configuration for t in plan()] != [t.configuration for t in plan(seed=1)]


def test_any_beginning_is_even():
    """No action is given to a third model before every action was given to one that could be."""
    space = {name: {"_type": "choice", "_value": [0, 1, 2, 3]} for name in "abc"}
    planned = plan(n_models=12, space=space)
    counts = Counter(str(t.action) for t in islice(planned[12:], 24))
    assert set(counts.values()) <= {1, 2, 3}
    assert len(counts) == 12
    models = Counter(t.model for t in planned[12:36])
    assert set(models.values()) == {2}
