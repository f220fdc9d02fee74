"""What the commands of our trials have in common: numbers in their options, one-line errors, an end by interrupt."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable

from nni_dream.automl.parent import end_interrupted

__all__ = ["positive", "run_command"]


def positive(text: str) -> int:
    """Return an option's number.

    Raises:
        argparse.ArgumentTypeError: If it is no whole number, or below 1.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected a whole number, 1 or more")
    return number


def run_command(action: Callable[[], int]) -> int:
    """Do what a command is for, and return the exit code; an error that says by itself what to do is one line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # outside NNI, the monitor tells each epoch here
    try:
        return action()
    except KeyboardInterrupt:
        return end_interrupted()
    except (OSError, ValueError, RuntimeError) as error:
        if not _is_for_the_user(error):
            raise
        sys.stderr.write(f"error: {error}\n")
        return 1


def _is_for_the_user(error: Exception) -> bool:
    """Whether an error says by itself what to do; others are ours to mend, and keep their traceback."""
    return isinstance(error, OSError) or type(error).__module__.startswith("nni_dream.")
