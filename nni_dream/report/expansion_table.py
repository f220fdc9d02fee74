"""An expansion in words: what trial code must read anew, what changes for it, and what was left alone and why."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Final

from nni_dream.feedback import Json
from nni_dream.report.space_table import visible
from nni_dream.search.expansion import Added, Expansion, NestedChoice
from nni_dream.search.parameters import Choice
from nni_dream.search.space import BRANCH_KEY

__all__ = ["ADDED_HEADER", "added_rows", "left_alone_lines", "nested_lines"]

ADDED_HEADER: Final = ("the trial reads", "values", "premise", "meaning")


def added_rows(expansion: Expansion) -> list[tuple[str, ...]]:
    """Return a row for each added parameter, under the columns of ``ADDED_HEADER``.

    The same parameter under several options of an outer choice has one row.
    """
    return list(dict.fromkeys(_added_row(added) for added in expansion.added))


def nested_lines(expansion: Expansion) -> list[str]:
    """Return a sentence for each choice whose options became objects: what its trial code must change."""
    return list(dict.fromkeys(_nested_line(choice) for choice in expansion.nested))


def left_alone_lines(expansion: Expansion) -> list[str]:
    """Return a line for each reason, with all that was left alone for it."""
    objects = defaultdict(list)  # reason -> objects
    for left in expansion.left_alone:
        objects[left.reason].append(left.addition.object)
    return [visible(f"{', '.join(names)}: {reason}") for reason, names in objects.items()]


def _added_row(added: Added) -> tuple[str, ...]:
    parameter = added.parameter
    is_nested = isinstance(parameter, Choice) and parameter.is_nested
    return (
        _expression((*parameter.path, BRANCH_KEY) if is_nested else parameter.path),
        ", ".join(map(json.dumps, parameter.action_values())),
        visible(str(added.premise) if added.is_conditional else f"none; counts only with {added.premise}"),
        added.addition.meaning,
    )


def _nested_line(choice: NestedChoice) -> str:
    before, after = _shown(choice.option), _shown({BRANCH_KEY: choice.name})
    return (
        f"{_expression(choice.path)} is an object now, {after} where it was {before}: trial code must read"
        f" {_expression((*choice.path, BRANCH_KEY))}, and initial_parameters must be written so"
    )


def _expression(path: tuple[str, ...]) -> str:
    """The Python expression by which trial code reads a parameter."""
    return f"parameters{''.join(f'[{_shown(name)}]' for name in path)}"


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)
