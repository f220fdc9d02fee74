"""What a priority table calls the parameters and the values of a search space.

A table knows objects (``learning_rate``, ``block_type``) and values (``0.01``, ``resnet``).  A space may call them
otherwise, ``lr`` or ``model`` and ``ResNet50``, and have ranges where the table has numbers.
"""

from __future__ import annotations

from collections import defaultdict

from nni_dream.feedback import Json
from nni_dream.search.actions import Action, PresentValues
from nni_dream.search.conditions import Condition
from nni_dream.search.evidence import Subject
from nni_dream.search.json_values import canonical_json
from nni_dream.search.parameters import Parameter, Range
from nni_dream.search.priorities import PriorityTable
from nni_dream.search.roles import canonical_value
from nni_dream.search.space import SearchSpace

__all__ = ["TableWords"]


class TableWords:
    """The names under which estimates know the actions of a search space.

    Args:
        table: ``None`` has no words of its own.
    """

    def __init__(self, space: SearchSpace, table: PriorityTable | None) -> None:
        told: defaultdict[str, dict[str, Json]] = defaultdict(dict)  # object -> its values, each once
        for action in () if table is None else (action for row in table.rows for action in row.actions):
            told[action.object].setdefault(canonical_json(action.value), action.value)
        self._objects: dict[str, str] = {}  # place -> object
        self._numbers: dict[str, list[float]] = {}  # object -> its values that are numbers
        for object_, values in told.items():
            self._numbers[object_] = [value for value in values.values() if _is_number(value)]
            for parameter in space.playing(object_):
                self._objects.setdefault(parameter.place, object_)

    def object(self, parameter: Parameter) -> str:
        """Return the table's object that a parameter plays; its own name where the table has none."""
        return self._objects.get(parameter.place, parameter.object)

    def numbers(self, parameter: Parameter) -> list[Json]:
        """Return the table's values that lie in a range, as the range has them; none for a choice."""
        if not isinstance(parameter, Range):
            return []
        own = [value for value in self._numbers.get(self.object(parameter), ()) if parameter.contains(value)]
        return [int(value) if parameter.type == "randint" else float(value) for value in own]

    def subject(self, parameter: Parameter, value: Json, condition: Condition) -> Subject:
        """Return what estimates know an action as.

        A table's word stands for the space's own (``adam_weight_decay`` for ``AdamW``), and a number from a range for
        what is near it: the table's with the same first significant digit, else that digit.
        """
        object_ = self.object(parameter)
        if isinstance(parameter, Range) and isinstance(value, float):
            digit = _first_digit(value)
            alike = [own for own in self._numbers.get(object_, ()) if _first_digit(own) == digit]
            near = min(alike, key=lambda own: abs(own - value), default=digit)
            return Subject.of(condition, object_, near)
        word = canonical_value(parameter.role, value)
        return Subject.of(condition, object_, value if word is None else word)

    def subject_before(self, action: Action, present: PresentValues, condition: Condition) -> Subject | None:
        """Return what estimates know the value as that an action changes, or ``None`` where there is none."""
        parameter = action.parameter
        return self.subject(parameter, present[parameter], condition) if parameter in present else None


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _first_digit(value: float) -> float:
    """The number with all but its first significant digit rounded away."""
    return float(f"{value:.1g}")
