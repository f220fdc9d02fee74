"""docs/nni_facts.md names the test of each defect of NNI: every one of them is there."""

from __future__ import annotations

import ast
import re

import pytest
from e2e.experiment import REPOSITORY

TESTS = REPOSITORY / "tests"
ROWS = [line for line in (REPOSITORY / "docs/nni_facts.md").read_text().splitlines() if re.match(r"\| [A-Z]\d", line)]
REFERENCE = re.compile(r"`(?P<file>[\w/]*test_\w+\.py)?(?P<names>(?:::\w+)*)`")


def references(row):
    """(file, names) of each test in the last column; one without a file is in the file before it."""
    file = None
    for found in REFERENCE.finditer(row.split("|")[-2]):
        file = found["file"] or file
        if found["file"] or found["names"]:
            yield file, [name for name in found["names"].split("::") if name]


def defined_in(path):
    return {
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_the_references_a_row_exist(row):
    named = list(references(row))
    assert named or "by design" in row or "tools/test_pythons.sh" in row
    for file, names in named:
        (path,) = TESTS.rglob(file)
        assert set(names) <= defined_in(path)
        assert all(name.lower().startswith("test") for name in names)  # else pytest passes it over


def test_no_two_rows_have_the_same_number():
    numbers = [row.split("|")[1].strip() for row in ROWS]
    assert len(set(numbers)) == len(numbers) > 40
