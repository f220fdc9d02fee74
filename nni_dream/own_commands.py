"""Commands of this package's own trials: which they are, and what their modules answer when they are asked.

What is asked imports torch, and has a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from nni_dream.feedback import Json

__all__ = [
    "TASK_TRIAL",
    "AvailableSpace",
    "OwnTrialError",
    "UntrainableSpaceError",
    "ask",
    "available_space",
    "own_module",
    "with_option_added",
    "with_options",
    "words_of_trial",
]

OWN_TRIALS: Final = "nni_dream.automl."
PROGRAMS: Final = (re.compile(r"nni_dream\.automl\.\w+"), re.compile(r"\S+\.py\b"))  # ours first
# What the shell takes for part of a word, or for words: without an operator.
WORD: Final = r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|\$\([^)]*\)|[^\s'"\\|&;<>])+"""
WORDS: Final = re.compile(rf"(?:{WORD}|\s(?!#))*", re.DOTALL)  # up to a comment
COMMENT_OR_WORD: Final = re.compile(rf"#[^\n]*|{WORD}", re.DOTALL)  # inside a word the sign begins no comment
QUOTES: Final = ("'", '"')
QUOTED: Final = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
HIDDEN: Final = {ord(character): 0xE000 + place for place, character in enumerate("$`~")}  # for private use in Unicode
SHOWN: Final = {stand_in: own for own, stand_in in HIDDEN.items()}
CHANGES_FOLDER: Final = re.compile(r"(?:^|[\s;&|(])(?:cd|pushd)\s")
UNREAD: Final = "only the shell can read the trials' command: data and weights were not looked at"
TASK_TRIAL: Final = "nni_dream.automl.trial"  # the one whose space may hold more than can be had here
UNTRAINABLE_CODE: Final = 3  # its exit code where nothing of a parameter can be had; other errors have 1 or 2


class OwnTrialError(RuntimeError):
    """A trial module of ours could not answer; the message is its own."""


class UntrainableSpaceError(OwnTrialError):
    """Every option of a parameter needs weights that are not there."""


class AvailableSpace(NamedTuple):
    """What of a search space trials can train."""

    space: Json
    notes: list[str]  # sentences: what of the data may surprise, if they were read; each group of actions taken out


def own_module(trial_command: str) -> str | None:
    """Return the module of ours that a trial command runs, or ``None`` for trials of others."""
    try:
        words = shlex.split(trial_command)
    except ValueError:  # the shell may read it all the same: a quotation mark in a comment, say
        return None
    return next((word for word in words if word.startswith(OWN_TRIALS)), None)


def with_options(command: str, options: Mapping[str, object | None]) -> str:
    """Return a command with these options instead of earlier ones; ``None`` leaves what is there.

    The rest stays as it is written: it may be more than words to the shell.  They stand at the end, but before a pipe,
    a redirection, another command or a comment that follows the program.
    """
    for name, value in options.items():
        if value is not None:
            without = re.sub(rf"\s{re.escape(name)}(?:=|\s+){WORD}", "", command, flags=re.DOTALL)
            command = with_option_added(without, name, value)
    return command


def with_option_added(command: str, name: str, value: object) -> str:
    """Return a command with one more option, whatever others of this name there are; its place as in `with_options`."""
    _, end = _place_of_words(command)
    rest = command[end:]
    space = " " if rest.startswith(("<", ">")) else ""  # a number before them would say which output
    return f"{command[:end]} {name} {shlex.quote(str(value))}{space}{rest}"


def _place_of_words(command: str) -> tuple[int, int]:
    """Where the words begin and end that a Python program is called with; at the end where none is seen."""
    uncommented = COMMENT_OR_WORD.sub(_with_comment_blank, command)
    program = next(filter(None, (program.search(uncommented) for program in PROGRAMS)), None)
    if program is None:
        end = len(uncommented.rstrip())
        return end, end
    words = WORDS.match(command, program.end())
    assert words is not None  # it may be empty
    head, following = command[: words.end()], command[words.end() : words.end() + 1]
    if following in QUOTES:  # one that does not end: where the words do is not known
        return program.end(), len(command)
    if following in ("<", ">"):
        head = re.sub(r"\s\d+$", "", head)  # which output is redirected; digits at the end of a word are none
    return program.end(), len(head.rstrip())


def _with_comment_blank(found: re.Match[str]) -> str:
    """Put spaces in place of a comment; a word stays."""
    return " " * len(found[0]) if found[0].startswith("#") else found[0]


def available_space(trial_command: str, folder: Path, space: Json, *, checks_data: bool = False) -> AvailableSpace:
    """Take out of a search space what needs pretrained weights that are not there.

    Only for trials of :mod:`nni_dream.automl.trial`, which would otherwise fail one after the other; the space of
    others is returned as it is.

    Args:
        folder: Where the trials run.
        checks_data: Whether the data are read too.

    Raises:
        UntrainableSpaceError: If every option of a parameter needs weights that are not there.
        OwnTrialError: If the trial's options are wrong, or its weights, or the data if they are read.
    """
    if own_module(trial_command) != TASK_TRIAL:
        return AvailableSpace(space, [])
    words = words_of_trial(trial_command)
    if words is None:
        return AvailableSpace(space, [UNREAD])
    options = [*words, "--check-data"] if checks_data else words
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "space.json")
        path.write_text(json.dumps(space), encoding="utf-8")
        answer = ask([TASK_TRIAL, *options, "--available-space", str(path)], folder)
    return AvailableSpace(**answer)


def words_of_trial(command: str) -> list[str] | None:
    """Return the words that our program is called with, after its name: with what $NAME and ~ stand for.

    ``None`` where they are not known: what the shell computes, or names of files in a folder that it goes to.
    """
    start, end = _place_of_words(command)
    text = QUOTED.sub(_with_literals_hidden, command[start:end])
    if CHANGES_FOLDER.search(command[:start]) or re.search(r"[$`]", os.path.expandvars(text)):
        return None
    return [os.path.expandvars(os.path.expanduser(word)).translate(SHOWN) for word in shlex.split(text)]


def _with_literals_hidden(quoted: re.Match[str]) -> str:
    """Put stand-ins for what the shell leaves as it is: $ and ` in single quotes, ~ in any."""
    is_single = quoted[0].startswith("'")
    return quoted[0].translate(HIDDEN if is_single else {ord("~"): HIDDEN[ord("~")]})


def ask(words: list[str], folder: Path) -> Any:
    """Run a module of ours and return the JSON in the last line that it prints.

    Raises:
        UntrainableSpaceError: If it ends with the exit code for that.
        OwnTrialError: If it ends with another exit code than 0.
    """
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        told = done.stderr.strip().removeprefix("error: ")
        kind = UntrainableSpaceError if done.returncode == UNTRAINABLE_CODE else OwnTrialError
        raise kind(told or f"{' '.join(command)} ended with code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])
