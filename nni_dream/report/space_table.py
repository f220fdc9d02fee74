"""A search space as a table: every parameter with its type, its values, its role and its premises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from nni_dream.feedback import Json
from nni_dream.search.parameters import NORMAL_TYPES, Choice, Parameter, Range
from nni_dream.search.space import SearchSpace

__all__ = ["HEADER", "space_rows", "visible"]

HEADER: Final = ("parameter", "type", "values", "role", "premises")
MAX_CHARACTERS: Final = 60  # of the values


def space_rows(space: SearchSpace, stated: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return a row for each parameter, outer ones first, under the columns of ``HEADER``.

    Args:
        stated: The roles that the user states; the others are inferred.
    """
    return [
        (
            visible(".".join(parameter.path)),
            "choice" if isinstance(parameter, Choice) else parameter.type,
            _shortened(_values(parameter)),
            _role(parameter, stated),
            visible(", ".join(str(premise) for premise in parameter.premises)) or "-",
        )
        for parameter in space.walk()
    ]


def visible(text: str) -> str:
    """Return a text as a terminal may show it: control characters and broken ones as escapes."""
    return text if text.isprintable() else json.dumps(text)


def _values(parameter: Parameter) -> str:
    if isinstance(parameter, Range):
        return _range_values(parameter)
    return ", ".join(json.dumps(value, ensure_ascii=not _is_printable(value)) for value in parameter.action_values())


def _range_values(parameter: Range) -> str:
    step = "" if parameter.q is None else f", step {parameter.q:g}"
    if parameter.type in NORMAL_TYPES:
        return f"mu {parameter.mu:g}, sigma {parameter.sigma:g}{step}"
    if parameter.type == "randint":
        return f"{parameter.low} to {int(parameter.high) - 1}"
    return f"{parameter.low:g} to {parameter.high:g}{step}"


def _role(parameter: Parameter, stated: Mapping[str, str]) -> str:
    if parameter.role is None:
        return "-"
    is_stated = parameter.name in stated or ".".join(parameter.path) in stated
    return f"{parameter.role.value} (stated)" if is_stated else parameter.role.value


def _is_printable(value: Json) -> bool:
    return not isinstance(value, str) or value.isprintable()


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 3]}..."
