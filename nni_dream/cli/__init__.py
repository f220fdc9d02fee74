"""The command line: ``nni-dream register | unregister | doctor | check | expand | pretrain | run | export | priority``.

The only package that prints.  A module for each group of commands; each imports what it runs when it runs, so that
every command starts at once.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import typer

from nni_dream.cli.export import export
from nni_dream.cli.installation import doctor, register, unregister
from nni_dream.cli.pretrain import pretrain
from nni_dream.cli.priority import compare, import_, merge, show
from nni_dream.cli.priority_build import build
from nni_dream.cli.run import run
from nni_dream.cli.spaces import check, expand

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="DREAM searches on Microsoft NNI.")
for command in (register, unregister, doctor, check, expand, pretrain, run, export):
    app.command()(command)
priority = typer.Typer(no_args_is_help=True, help="Priority tables: measure, show, compare, merge, import.")
for table_command in (build, show, compare, merge):
    priority.command()(table_command)
priority.command("import")(import_)
app.add_typer(priority, name="priority")


def main() -> None:
    """Entry point of ``nni-dream``."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, _interrupt)
    app()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
