"""Users' own texts: a CSV, TSV or Parquet file with a column of texts and a column of labels.

The data folder is the file itself, or holds one table, or ``train.*`` with ``test.*`` (and ``validation.*``).
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from nni_dream.automl.data.errors import DataError, MissingDataError
from nni_dream.automl.data.files import files_in, read_text
from nni_dream.automl.data.parts import PART_NAMES, Part, Parts, encode_labels, known_classes

__all__ = ["read_table"]

# The first of these that stands in the header; Excel writes semicolons where numbers have a decimal comma.
DELIMITERS: Final[Mapping[str, str]] = {".csv": ",;", ".tsv": "\t"}
DELIMITER_NAMES: Final[Mapping[str, str]] = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
SUFFIXES: Final = (*DELIMITERS, ".parquet")
TEXT_COLUMNS: Final = ("text", "sentence", "question", "review", "content", "document", "message")
QUOTING: Final = ("minimal", "none")
NO_QUOTES: Final = "; if quotation marks are part of the texts: --data-option quoting=none"
OTHER_ENCODING: Final = "; say its encoding: --data-option encoding=NAME, such as utf-16 or cp1252"
LABEL_COLUMNS: Final = ("label", "class", "category", "target", "sentiment", "topic")


class _Format(NamedTuple):
    """How CSV and TSV files are written."""

    encoding: str
    quoting: str | None  # of QUOTING


class _Table(NamedTuple):
    file: Path
    names: Sequence[str]  # of the columns, as the file has them
    columns: Mapping[str, Sequence[object]]  # of those with the same name the last
    places: Sequence[str]  # where each row stands


def read_table(
    data_dir: Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str = "utf-8-sig",
    quoting: str | None = None,
) -> Parts:
    """Read texts and labels; columns that are not named are found by their usual names.

    Args:
        encoding: Of CSV and TSV files.
        quoting: ``minimal``: quotation marks enclose fields, as Excel and pandas write them; ``none``: they are part
            of the texts, as in IANA's definition of TSV; ``None``: as ``minimal``, but a TSV is refused where that
            makes one row of lines that would all be rows.

    Raises:
        DataError: If there is no table, a column is not found, or a row is broken or lacks its text or label.
    """
    if quoting is not None and quoting not in QUOTING:
        raise DataError(f"table: quoting is {quoting!r}, expected {' or '.join(QUOTING)}")
    files = _find_files(data_dir)
    tables = {part: _read_file(file, _Format(encoding, quoting)) for part, file in files.items()}
    rows = {part: _text_and_label(table, text_column, label_column) for part, table in tables.items()}
    classes = known_classes(rows["train"][1])
    parts = {
        part: Part(texts, encode_labels(labels, classes, tables[part].places), str(tables[part].file))
        for part, (texts, labels) in rows.items()
    }
    return Parts(parts["train"], classes, validation=parts.get("validation"), test=parts.get("test"))


def _find_files(data_dir: Path) -> dict[str, Path]:
    if data_dir.is_file():
        return {"train": data_dir}
    tables = [file for file in files_in(data_dir) if file.suffix.lower() in SUFFIXES]
    if not tables:
        raise MissingDataError(f"table: found no {', '.join(SUFFIXES)} file at {data_dir}; give the path of the table")
    if len(tables) == 1:
        return {"train": tables[0]}
    parts = {part: [file for file in tables if file.stem.lower() in names] for part, names in PART_NAMES.items()}
    n_placed = sum(map(len, parts.values()))
    if any(len(found) > 1 for found in parts.values()) or not parts["train"] or n_placed < len(tables):
        names = ", ".join(file.name for file in tables)
        raise DataError(
            f"{data_dir}: which of {names}? Give the path of one, or call them train.*, validation.* and test.*"
        )
    return {part: found[0] for part, found in parts.items() if found}


def _read_file(file: Path, form: _Format) -> _Table:
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(file)
    if suffix not in DELIMITERS:
        raise DataError(f"{file}: ends in {suffix!r}, expected one of {', '.join(SUFFIXES)}")
    return _read_delimited(file, form, DELIMITERS[suffix])


def _read_delimited(file: Path, form: _Format, delimiters: str) -> _Table:
    csv.field_size_limit(sys.maxsize)  # texts are longer than the 131,072 characters that csv allows by itself
    text = read_text(file, (form.encoding,), way_out=OTHER_ENCODING)
    lines = list(io.StringIO(text, newline=""))
    delimiter = next((sign for sign in delimiters if lines and sign in lines[0]), delimiters[0])
    reader = csv.reader(
        lines,
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if form.quoting == "none" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    rows, places = [], []
    try:
        header = next(reader, [])
        _check_header(file, header, delimiter)
        n_read = reader.line_num
        for row in reader:
            if form.quoting is None and delimiter == "\t":
                _check_joined(file, lines, range(n_read, reader.line_num), len(header))
            n_read = reader.line_num
            if len(row) != len(header) and row:
                raise DataError(f"{file}:{reader.line_num}: has {len(row)} fields, the header has {len(header)}")
            if row:
                rows.append(row)
                places.append(f"{file}:{reader.line_num}")
    except csv.Error as error:
        way_out = NO_QUOTES if delimiter == "\t" else ""
        raise DataError(f"{file}:{reader.line_num}: is broken: {error}{way_out}") from error
    columns = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    return _Table(file, header, columns, places)


def _check_joined(file: Path, lines: Sequence[str], indices: range, n_columns: int) -> None:
    """Refuse a row of several lines that would all be rows: its quotation mark may be part of the text."""
    if len(indices) > 1 and all(lines[index].count("\t") == n_columns - 1 for index in indices):
        raise DataError(
            f"{file}:{indices[0] + 1}: a quotation mark makes one row of {len(indices)} lines, each of which would be "
            f"a row{NO_QUOTES}, else --data-option quoting=minimal"
        )


def _check_header(file: Path, header: Sequence[str], delimiter: str) -> None:
    if not header:
        raise DataError(f"{file}: is empty, or its first line is; expected the names of the columns")
    if len(header) > 1:
        return
    others = (name for sign, name in DELIMITER_NAMES.items() if sign in header[0] and sign != delimiter)
    found = next(others, None)
    if found is not None:
        raise DataError(
            f"{file}: has the single column {header[0]!r}: {found} seem to stand between the columns; "
            "save it with commas as .csv, or with tabs as .tsv"
        )


def _read_parquet(file: Path) -> _Table:
    try:
        import pyarrow  # type: ignore[import-not-found,import-untyped,unused-ignore]
        import pyarrow.parquet  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise DataError(f"{file}: Parquet needs pyarrow, which is not installed: pip install pyarrow") from error
    try:
        table = pyarrow.parquet.ParquetFile(file).read()  # read_table refuses columns with one name, whichever is read
        names = table.column_names
        columns = {name: column.to_pylist() for name, column in zip(names, table.columns, strict=True)}
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise DataError(f"{file}: is no Parquet file, or a broken one: {error}") from error
    return _Table(file, names, columns, [f"{file}: row {row}" for row in range(table.num_rows)])


def _text_and_label(table: _Table, text_column: str | None, label_column: str | None) -> tuple[list[str], list[str]]:
    text = _find_column(table, "text_column", text_column, TEXT_COLUMNS)
    label = _find_column(table, "label_column", label_column, LABEL_COLUMNS)
    if text == label:  # the answer would be learnt from itself
        raise DataError(f"{table.file}: text_column and label_column are both {text!r}; give another one of the two")
    return _filled(table, text), _filled(table, label)


def _find_column(table: _Table, argument: str, given: str | None, usual: Sequence[str]) -> str:
    there = ", ".join(repr(name) for name in table.names)
    if given is None:
        found = {name for name in table.names if name.strip().lower() in usual}
        if len(found) != 1:
            raise DataError(
                f"{table.file}: give {argument}, one of {there}, with --data-option {argument}=NAME "
                f"({', '.join(usual)} would be found if alone)"
            )
        (given,) = found
    n_columns = table.names.count(given)
    if n_columns == 0:
        raise DataError(f"{table.file}: {argument} is {given!r}, but the columns are {there}")
    if n_columns > 1:
        raise DataError(f"{table.file}: {n_columns} columns are called {given!r}; rename all but one")
    return given


def _filled(table: _Table, column: str) -> list[str]:
    values = []
    for value, place in zip(table.columns[column], table.places, strict=True):
        where = f"{place}: column {column!r}"
        text = _as_text(value, where)
        if not text:
            raise DataError(f"{where} is empty")
        values.append(text)
    return values


def _as_text(value: object, where: str) -> str:
    """Return what stands in a cell, without blanks around it; an empty cell of numbers is NaN in many files."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, bytes):
        return str(value).strip()
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is not utf-8 text: byte 0x{value[error.start]:02x} at offset {error.start}"
        ) from error
