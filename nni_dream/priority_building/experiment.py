"""From an experiment's YAML to what its trainings share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from nni_dream.config import SettingsError

__all__ = ["class_args_of", "option_value", "shared_command"]

OF_THE_MACHINE: Final = ("--data-dir", "--output", "--weights-dir")  # options that do not change what is measured


def shared_command(command: str) -> str:
    """Return a trial command without what belongs to the machine, such as the folder of the data."""
    return shlex.join(_without(_split(command), OF_THE_MACHINE))


def option_value(command: str, name: str) -> str | None:
    """Return what a trial command gives for an option such as ``--data``; ``None`` where it does not have it.

    Raises:
        SettingsError: If a quotation in the command does not end.
    """
    return next((value for word, value in pairwise(_split(command)) if word == name), None)


def _split(command: str) -> list[str]:
    """Return the words of a command, ``--name=value`` as two.

    Raises:
        SettingsError: If a quotation in it does not end.
    """
    words: list[str] = []
    try:
        split = shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"trialCommand {command!r} cannot be read ({error}): mend its quotation marks") from error
    for word in split:
        words += word.split("=", maxsplit=1) if word.startswith("--") else [word]
    return words


def _without(words: Sequence[str], names: Sequence[str]) -> list[str]:
    kept: list[str] = []
    is_value = False
    for word in words:
        if not is_value and word not in names:
            kept.append(word)
        is_value = not is_value and word in names
    return kept


def class_args_of(config: Any) -> dict[str, Any]:
    """Return the arguments of the experiment's tuner."""
    return dict(getattr(config.tuner, "class_args", None) or {})
