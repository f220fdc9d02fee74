"""Which models to train to measure priorities: seed models, and each of them after one action (DREAM section 4.2.3).

The plan depends on the space and the seed alone, never on a result: whoever resumes it continues the same plan.  Any
beginning of it is even: actions that were given to few models come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from nni_dream.search.actions import Action, PresentValues, all_actions, apply_action
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import Configuration, SearchSpace

__all__ = ["PlannedTraining", "plan_trainings", "seed_models"]

N_DRAWS: Final = 200  # for a seed model that no earlier one equals


@dataclass(frozen=True)
class PlannedTraining:
    """Train seed model ``model``, or the configuration that ``action`` makes of it."""

    model: int
    configuration: Configuration
    action: Action | None = None

    @property
    def key(self) -> tuple[int, str | None]:
        return self.model, None if self.action is None else self.action.key


def seed_models(space: SearchSpace, n: int, seed: int) -> list[Configuration]:
    """Return n random configurations, each once; fewer when the space has no more."""
    models: dict[str, Configuration] = {}
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        draws = (space.sample(rng) for _ in range(N_DRAWS))
        new = next((draw for draw in draws if canonical_json(draw) not in models), None)
        if new is None:
            break
        models[canonical_json(new)] = new
    return list(models.values())


def plan_trainings(space: SearchSpace, n_models: int, seed: int) -> Iterator[PlannedTraining]:
    """Yield every seed model first, then the actions in turns, a model after the other.

    In its turn a model gets the action that the fewest models had before; equals are drawn with the seed.
    """
    models = seed_models(space, n_models, seed)
    yield from (PlannedTraining(number, model) for number, model in enumerate(models))
    left: list[list[PlannedTraining]] = []
    for number, model in enumerate(models):
        rng = np.random.default_rng([seed, number, 1])
        planned = [PlannedTraining(number, changed, action) for action, changed in _actions_on(model, space, rng)]
        left.append([planned[index] for index in rng.permutation(len(planned))])
    n_given: Counter[str] = Counter()
    while any(left):
        for planned in filter(None, left):
            next_one = min(planned, key=lambda training: n_given[str(training.action)])
            planned.remove(next_one)
            n_given[str(next_one.action)] += 1
            yield next_one


def _actions_on(
    model: Configuration, space: SearchSpace, rng: np.random.Generator
) -> list[tuple[Action, Configuration]]:
    """Return every action that changes a model and needs no other architecture, and the model after it."""
    own = canonical_json(model)
    present = PresentValues(model, space)
    changes = []
    for action in all_actions(space, model):
        if present.unmet_architecture(action) is not None:
            continue
        changed = apply_action(action, model, space, lambda parameter: parameter.sample(rng))
        if canonical_json(changed) != own:
            changes.append((action, changed))
    return changes
