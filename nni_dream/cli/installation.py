"""Commands about the installation: ``nni-dream register | unregister | doctor``."""

from __future__ import annotations

import typer
from rich.markup import escape

from nni_dream.cli.console import console, fail

__all__ = ["doctor", "register", "unregister"]


def register() -> None:
    """Make `tuner: {name: Dream}` and `assessor: {name: DreamAssessor}` known to NNI."""
    from nni_dream import registration

    try:
        registration.register()
    except OSError as error:
        fail(error)
    console.print(f"registered Dream and DreamAssessor in {escape(str(registration.registry_path()))}")


def unregister() -> None:
    """Take Dream and DreamAssessor out of NNI's registry."""
    from nni_dream import registration

    try:
        registration.unregister()
    except OSError as error:
        fail(error)
    console.print(f"took Dream and DreamAssessor out of {escape(str(registration.registry_path()))}")


def doctor() -> None:
    """Check this installation for what NNI stumbles over, and say how to mend it; exit code 1 if nothing can run."""
    from nni_dream.doctor import Level, examine

    colours = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}
    has_problem = False
    for finding in examine():
        colour = colours[finding.level]
        remedy = "" if finding.remedy is None else f"; to mend it: {finding.remedy}"
        text = escape(f"{finding.check}: {finding.text}{remedy}")
        console.print(f"[{colour}]{finding.level.value:<8}[/{colour}] {text}")
        has_problem = has_problem or finding.level is Level.PROBLEM
    if has_problem:
        raise typer.Exit(1)
