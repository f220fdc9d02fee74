"""A search space as JSON text for people: one line for what fits into one, and its changes as a diff."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from difflib import unified_diff
from typing import Final

from nni_dream.feedback import Json
from nni_dream.search.space import SearchSpaceError

__all__ = ["space_diff", "space_text"]

WIDTH: Final = 120  # columns
INDENT: Final = 2
SMALLEST_DECIMAL: Final = 1e-6  # below it, a number is written with an exponent


def space_text(definition: Mapping[str, Json]) -> str:
    """Return a search space as JSON, a parameter a line where it fits; NNI reads the same from it as JSON and as YAML.

    Raises:
        SearchSpaceError: If its values are nested too deeply to be written.
    """
    try:
        return f"{_broken(definition, 0)}\n"
    except RecursionError:
        raise SearchSpaceError("search space holds values that are nested too deeply to be written") from None


def space_diff(before: str, after: str, names: tuple[str, str]) -> str:
    """Return the unified diff of two texts under the names of their files; empty if they are equal."""
    old_name, new_name = names
    lines = unified_diff(before.splitlines(), after.splitlines(), old_name, new_name, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _written(value: Json, indent: int, column: int) -> str:
    """A value as it follows ``column`` characters in its line; further lines are indented."""
    line = _in_one_line(value)
    if not isinstance(value, (dict, list)) or column + len(line) < WIDTH:  # a comma may follow
        return line
    if isinstance(value, dict) and list(value) == ["_type", "_value"] and isinstance(value["_value"], list):
        return f'{{"_type": {_in_one_line(value["_type"])}, "_value": {_broken(value["_value"], indent)}}}'
    return _broken(value, indent)


def _broken(value: Json, indent: int) -> str:
    """A list or an object with an item a line."""
    inner = indent + INDENT
    items = [(f"{_in_one_line(key)}: ", item) for key, item in value.items()] if isinstance(value, Mapping) else None
    lines = [f"{key}{_written(item, inner, inner + len(key))}" for key, item in items or [("", item) for item in value]]
    opening, closing = "[]" if items is None else "{}"
    separator = f",\n{' ' * inner}"
    return f"{opening}\n{' ' * inner}{separator.join(lines)}\n{' ' * indent}{closing}"


def _in_one_line(value: Json) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join([f'{_in_one_line(key)}: {_in_one_line(item)}' for key, item in value.items()])}}}"
    if isinstance(value, list):
        return f"[{', '.join([_in_one_line(item) for item in value])}]"
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value, ensure_ascii=isinstance(value, str) and not value.isprintable())


def _number(value: float) -> str:
    """A number that YAML 1.1 takes for one too: to it, ``1e-07`` is text, and ``1.0e-07`` is not."""
    text = json.dumps(value)
    if "e" not in text:
        return text
    if SMALLEST_DECIMAL <= abs(value) < 1:
        return format(Decimal(text), "f")
    mantissa, exponent = text.split("e")
    return f"{mantissa if '.' in mantissa else f'{mantissa}.0'}e{exponent}"
