"""Commands about search spaces: ``nni-dream check | expand``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from nni_dream.cli.console import console, errors, fail
from nni_dream.cli.options import Force, SpaceArgument
from nni_dream.cli.output_files import check_output, write_output

if TYPE_CHECKING:
    from nni_dream.search.additions import Group
    from nni_dream.search.expansion import Expansion, PlainOptions
    from nni_dream.space_files import SpaceFile

__all__ = ["check", "expand"]


def check(space: SpaceArgument) -> None:
    """Read a search space as NNI does and show what each parameter is taken for; exit code 1 if it cannot be used."""
    from nni_dream.report.space_table import HEADER, space_rows

    file = _read(space)
    rows = [HEADER, *space_rows(file.space, file.roles)]
    _print_table(rows, console)
    _print_notes(file.notes, console)
    n_configurations = file.space.n_configurations()
    n = "infinitely many" if n_configurations is None else n_configurations
    console.print(f"parameters: {len(rows) - 1}, configurations: {n}")


def expand(
    space: SpaceArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the expanded space; standard output if not given.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Group of actions: model, optimizer or fine-tuning; may be repeated; all if not given."
        ),
    ] = None,
    nested: Annotated[
        bool,
        typer.Option("--nested", help='Turn plain options into objects: the trial gets {"_name": "sgd"}, not "sgd".'),
    ] = False,
    flat: Annotated[
        bool,
        typer.Option("--flat", help="Put what belongs under an option of a plain choice beside that choice."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write no file; print the changes as a diff.")] = False,
    force: Force = False,
) -> None:
    """Add to a search space what it lacks of the paper's 36 actions, by role; say what was added and what was not.

    Standard output gets the space, or the diff; standard error gets the rest.
    """
    from nni_dream.report.space_table import visible
    from nni_dream.report.space_text import space_diff, space_text
    from nni_dream.search import expansion as table_1
    from nni_dream.search.space import SearchSpaceError

    groups, plain_options = _groups(group), _plain_options(nested=nested, flat=flat)
    file = _read(space)
    if output is not None and not dry_run:
        check_output(output, sources=(space, file.path), force=force)
    try:
        expansion = table_1.expand(file.definition, file.roles, groups=groups, plain_options=plain_options)
        before, after = space_text(file.definition), space_text(expansion.definition)
    except SearchSpaceError as error:
        _fail(f"{file.path}: {error}")
    _print_notes(file.notes, errors)
    _print_expansion(expansion)
    if dry_run:
        names = (str(file.path), f"{file.path} (expanded)" if output is None else str(output))
        typer.echo(space_diff(before, after, (visible(names[0]), visible(names[1]))), nl=False)
    elif output is None:
        typer.echo(after, nl=False)
    else:
        write_output(output, after)
        errors.print(escape(visible(f"wrote {output}, for searchSpaceFile in the experiment's YAML")))


def _read(space: Path) -> SpaceFile:
    from nni_dream.space_files import SpaceFileError, read_space_file

    try:
        return read_space_file(space)
    except SpaceFileError as error:
        _fail(str(error))


def _groups(names: list[str] | None) -> tuple[Group, ...]:
    from nni_dream.search.additions import Group

    known = [group.value for group in Group]
    unknown = next((name for name in names or () if name not in known), None)
    if unknown is not None:
        _fail(f"--group is {unknown!r}, expected one of {', '.join(known)}")
    return tuple(Group(name) for name in names or known)


def _plain_options(*, nested: bool, flat: bool) -> PlainOptions:
    from nni_dream.search.expansion import PlainOptions

    if nested and flat:
        _fail("--nested and --flat exclude each other: a plain option becomes an object, or it stays one value")
    return PlainOptions.NESTED if nested else PlainOptions.FLAT if flat else PlainOptions.KEPT


def _print_expansion(expansion: Expansion) -> None:
    from nni_dream.report.expansion_table import ADDED_HEADER, added_rows, left_alone_lines, nested_lines

    if expansion.added:
        errors.print(f"added: {expansion.n_actions} actions; they do something once the trial reads their parameters:")
        _print_table([ADDED_HEADER, *added_rows(expansion)], errors)
    else:
        errors.print("nothing added")
    for line in nested_lines(expansion):
        errors.print(f"[yellow]warning:[/yellow] {escape(line)}")
    if expansion.left_alone:
        errors.print("left alone:")
    for line in left_alone_lines(expansion):
        errors.print(f"  {escape(line)}")
    if any(left.is_for_plain_options for left in expansion.left_alone):
        errors.print("[yellow]note:[/yellow] --nested turns plain options into objects, --flat adds beside them")


def _print_table(rows: Sequence[Sequence[str]], to: Console) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        to.print(escape(line.rstrip()))


def _print_notes(notes: Sequence[str], to: Console) -> None:
    from nni_dream.report.space_table import visible

    for note in notes:
        to.print(f"[yellow]note:[/yellow] {escape(visible(note))}")


def _fail(reason: str) -> NoReturn:
    from nni_dream.report.space_table import visible

    fail(visible(reason))
