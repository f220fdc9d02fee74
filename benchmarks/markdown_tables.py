"""Tables of the reports, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["table_head", "table_row"]


def table_head(names: Sequence[str]) -> list[str]:
    return [table_row(names), "|---" * len(names) + "|"]


def table_row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
