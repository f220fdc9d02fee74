"""MR, sentence polarity v1.0: one snippet of a film review a line, in rt-polarity.neg and rt-polarity.pos.

No split is published.  Papers cross-validate over ten folds; here a tenth, with the same share of both classes, is the
test part: the same tenth whatever the seed (see :mod:`nni_dream.automl.data.splitting`).
The release is Windows-1252, copies in UTF-8 go round: both are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import read_text
from nni_dream.automl.data.origins import find_folder, missing
from nni_dream.automl.data.parts import Part, Parts

__all__ = ["read_mr"]

CLASSES: Final = ("neg", "pos")
ENCODINGS: Final = ("utf-8-sig", "cp1252")


def read_mr(data_dir: Path) -> Parts:
    """Read both files.

    Raises:
        DataError: If one is missing or empty, has an empty line, or is in neither encoding.
    """
    folder = find_folder("mr", data_dir, ["rt-polaritydata"], "rt-polarity.neg")
    if not (folder / "rt-polarity.pos").exists():
        raise missing("mr", "rt-polarity.pos", [folder])
    snippets = [_read_lines(folder / f"rt-polarity.{name}") for name in CLASSES]
    targets = np.repeat(np.arange(len(CLASSES)), [len(own) for own in snippets])
    return Parts(Part([text for own in snippets for text in own], targets, str(folder)), CLASSES)


def _read_lines(file: Path) -> list[str]:
    lines = [line.strip() for line in read_text(file, ENCODINGS).rstrip("\n").split("\n")]
    if "" in lines:
        raise DataError(f"{file}:{lines.index('') + 1}: the line is empty, expected a snippet")
    return lines
