"""Which parameters do nothing where: an action after which the training went exactly as before.

A search space holds more than a configuration uses: the filters of a block that is not built, the momentum of an
optimizer without one, the units of a dense layer of which there are none.  A score cannot tell - scores on small data
are often equal by chance - but what was seen inside training can: two trainings with the same losses, scores, gradients
and weights in every epoch are the same training, and the parameter in which they differ is inert there.  Its other
values need no trial.

Which other parameter makes it inert is not known.  Any of them may, so in a similar configuration it is inert as
probably as that one parameter is among those that are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from nni_dream.search.actions import Action
from nni_dream.search.json_values import canonical_json
from nni_dream.search.parameters import Parameter
from nni_dream.search.space import Configuration, SearchSpace

__all__ = ["InertParameters"]

N_SHOWN: Final = 16  # configurations that are remembered for a parameter, the latest


class InertParameters:
    """Remembers where a change of a parameter made no difference."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._shown: dict[str, deque[dict[str, str]]] = {}  # place -> the other parameters' values where it was inert

    def learn(self, before: Configuration, after: Configuration) -> None:
        """Enter two configurations that were trained in the same way: what differs between them is inert there."""
        old, new = self._values(before), self._values(after)
        for place in old.keys() & new.keys():
            if old[place] != new[place]:
                others = {other: value for other, value in old.items() if other != place}
                self._shown.setdefault(place, deque(maxlen=N_SHOWN)).append(others)

    def relevances(self, candidate: Configuration, actions: Sequence[Action]) -> list[float]:
        """Return how probably each action makes a difference to a candidate, 0..1; 1 where nothing is known.

        What lies inside an inert parameter, as the momentum of an optimizer, is inert with it.
        """
        if not self._shown:
            return [1.0] * len(actions)
        active = self._space.active_values(candidate)
        values = {parameter.place: canonical_json(value) for parameter, value in active}
        known = {
            place: min(_share_of_differences(values, others) for others in shown)
            for place, shown in self._shown.items()
            if place in values
        }
        places = {parameter.path: parameter.place for parameter, _ in active}

        def relevance(parameter: Parameter) -> float:
            around = [places.get(premise.path, "") for premise in parameter.premises]
            return min(known.get(place, 1.0) for place in (parameter.place, *around))

        return [relevance(action.parameter) for action in actions]

    def _values(self, configuration: Configuration) -> dict[str, str]:
        """Place and value of every active parameter."""
        return {parameter.place: canonical_json(value) for parameter, value in self._space.active_values(configuration)}


def _share_of_differences(values: Mapping[str, str], others: Mapping[str, str]) -> float:
    """The share of the parameters, without the one that ``others`` lacks, that are not the same in both."""
    places = values.keys() | others.keys()
    n_same = sum(values.get(place) == value for place, value in others.items())
    n_asked = len(places) - 1  # without the parameter itself
    return 1 - n_same / n_asked if n_asked else 0.0
