"""TREC question classification, from its two .label files: lines of ``COARSE:fine question``.

As published, 10 test questions are also in train, some train lines repeat, and one question has two labels; nothing of
that is mended.  The release is Latin-1, copies in UTF-8 go round: both are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import read_text
from nni_dream.automl.data.origins import find_folder, missing
from nni_dream.automl.data.parts import Part, Parts, encode_labels, known_classes

__all__ = ["read_trec"]

TRAIN_FILE: Final = "train_5500.label"
TEST_FILE: Final = "TREC_10.label"
ENCODINGS: Final = ("utf-8-sig", "latin-1")


def read_trec(data_dir: Path, *, labels: str = "fine") -> Parts:
    """Read the questions; ``labels`` are the 50 ``fine`` ones (``NUM:date``) or the 6 ``coarse`` ones (``NUM``).

    Raises:
        DataError: If a file is missing, a line is not as above, or ``labels`` is something else.
    """
    if labels not in ("fine", "coarse"):
        raise DataError(f"trec: labels is {labels!r}, expected 'fine' or 'coarse'")
    folder = find_folder("trec", data_dir, [], TRAIN_FILE)
    if not (folder / TEST_FILE).exists():
        raise missing("trec", TEST_FILE, [folder])
    train, test = (_read_lines(folder / name, labels) for name in (TRAIN_FILE, TEST_FILE))
    classes = known_classes(label for label, _ in train)
    return Parts(
        _make_part(folder / TRAIN_FILE, train, classes), classes, test=_make_part(folder / TEST_FILE, test, classes)
    )


def _read_lines(file: Path, labels: str) -> list[tuple[str, str]]:
    """Pairs of label and question."""
    pairs = []
    for number, line in enumerate(read_text(file, ENCODINGS).rstrip("\n").split("\n"), start=1):
        label, _, question = line.strip("\r").partition(" ")
        if ":" not in label or not question.strip():
            raise DataError(f"{file}:{number}: is {line[:60]!r}, expected 'COARSE:fine question'")
        pairs.append((label if labels == "fine" else label.partition(":")[0], question.strip()))
    return pairs


def _make_part(file: Path, pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> Part:
    places = [f"{file}:{number}" for number in range(1, len(pairs) + 1)]
    return Part(
        [question for _, question in pairs], encode_labels([label for label, _ in pairs], classes, places), str(file)
    )
