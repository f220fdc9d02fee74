"""``nni-dream priority show | compare | merge | import``: priority tables, looked at and put together."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from nni_dream.cli.console import console, fail
from nni_dream.cli.options import Force, TableOutput
from nni_dream.cli.output_files import check_output, write_output

if TYPE_CHECKING:
    from nni_dream.search.priorities import PriorityTable

__all__ = ["compare", "import_", "merge", "show", "write_table"]

Table = Annotated[str, typer.Argument(help="File of a table, or the name of one that ships.")]


def show(
    table: Table,
    top: Annotated[int, typer.Option(min=1, help="Number of actions of each condition.")] = 10,
    condition: Annotated[str, typer.Option(help="Condition such as OA-NC-NG-NW; * stands for any part.")] = "*-*-*-*",
    plot: Annotated[Path | None, typer.Option(help="PNG file for a heat map; none if not given.")] = None,
) -> None:
    """Show a table: the best actions of each condition, and a heat map."""
    from nni_dream.report.priority_table import plot_table, table_lines

    if plot is not None and (plot.suffix.lower() != ".png" or plot.is_dir()):
        fail(f"{plot} is no PNG file: expected a path that ends in .png")
    loaded = _load(table)
    try:
        for line in table_lines(loaded, condition=condition, top=top):
            console.print(escape(line))
    except ValueError as error:
        fail(error)
    if plot is None:
        return
    try:
        plot_table(loaded, plot)
    except OSError as error:
        fail(error)
    console.print(f"plot: {escape(str(plot))}")


def compare(one: Table, other: Table) -> None:
    """Compare how two tables rank the actions of each condition that both have."""
    from nni_dream.priority_building.tables import N_BEST, compare_tables

    first, second = _load(one), _load(other)
    agreements = compare_tables(first, second)
    if not agreements:
        fail("the tables have no condition in common")
    console.print(f"{'condition':<14} {'actions':>7}  {'rank correlation':>16}  of the best {N_BEST} in both")
    for each in agreements:
        correlation = "-" if each.rank_correlation is None else f"{each.rank_correlation:+.2f}"
        console.print(f"{each.condition:<14} {each.n_shared:>7}  {correlation:>16}  {each.n_best_shared}")
    known = [each.rank_correlation for each in agreements if each.rank_correlation is not None]
    if known:
        console.print(f"mean rank correlation of {len(known)} conditions: {mean(known):+.2f}")
    for name, own, others in ((one, first, second), (other, second, first)):
        alone = sorted({row.condition for row in own.rows} - {row.condition for row in others.rows})
        if alone:
            console.print(f"only in {escape(name)}: {', '.join(alone)}")


def merge(
    tables: Annotated[
        list[str], typer.Argument(help="Two measured tables or more, each a file or the name of one that ships.")
    ],
    output: TableOutput,
    force: Force = False,
) -> None:
    """Merge measured tables into one, as if all of it had been measured together."""
    from nni_dream.priority_building.tables import merge_tables
    from nni_dream.search.priorities import PriorityTableError, shipped_tables

    files = [Path(table) for table in tables if table not in shipped_tables()]
    check_output(output, sources=files, force=force)
    try:
        merged = merge_tables([_load(table) for table in tables])
    except PriorityTableError as error:
        fail(error)
    write_table(merged, output)


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV file: a column for each condition, a row for each rank, cells such as 'learning rate=0.01'."
        ),
    ],
    output: TableOutput,
    task: Annotated[str, typer.Option(help="Task that the table is for.")] = "image_classification",
    force: Force = False,
) -> None:
    """Import a table in the layout of the paper's repository."""
    from nni_dream.priority_building.tables import import_ranks
    from nni_dream.search.priorities import PriorityTableError

    check_output(output, sources=[file], force=force)
    try:
        imported = import_ranks(file, task=task)
    except PriorityTableError as error:
        fail(error)
    write_table(imported, output)


def write_table(table: PriorityTable, output: Path) -> None:
    """Write a table to its file and say what is in it."""
    write_output(output, table.model_dump_json(indent=1, exclude_none=True) + "\n")
    n_actions = sum(len(row.actions) for row in table.rows)
    console.print(f"{escape(str(output))}: {len(table.rows)} conditions, {n_actions} actions in them")


def _load(table: str) -> PriorityTable:
    from nni_dream.search.priorities import PriorityTableError, load_priority_table

    try:
        return load_priority_table(table)
    except PriorityTableError as error:
        fail(error)
