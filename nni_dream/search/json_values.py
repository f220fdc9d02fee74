"""JSON values: when two are the same, and how one is written in a message."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final, TypeGuard

from nni_dream.feedback import Json

__all__ = ["canonical_json", "is_finite_number", "same_value", "short_text"]

LONGEST_TEXT: Final = 80  # characters of a value in a message
_ENCODER: Final = json.JSONEncoder(sort_keys=True)


def canonical_json(value: Json) -> str:
    """Return a string that is equal for equal JSON values: 1 and 1.0 are, 1 and true are not."""
    return _ENCODER.encode(_whole_floats_as_integers(value))


def same_value(one: Json, other: Json) -> bool:
    """Whether two JSON values are the same; ``True == 1`` in Python, but not here."""
    return canonical_json(one) == canonical_json(other)


def is_finite_number(value: Json) -> TypeGuard[float]:
    """Whether a JSON value is a number that is finite as a float; true and false are none."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def short_text(value: Json) -> str:
    """Write a value for a message, cut to 80 characters."""
    text = json.dumps(value) if isinstance(value, (str, bool, int, float, type(None))) else repr(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


def _whole_floats_as_integers(value: Json) -> Json:
    if isinstance(value, str):  # most are
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole_floats_as_integers(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole_floats_as_integers(inner) for inner in value]
    return value
