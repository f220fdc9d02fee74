"""STL-10, from its binary files: 5,000 training and 8,000 test images of 96x96; the unlabelled ones are left alone.

torchvision's reader is not used: it checks the sums of all files, the 2.6 GB of unlabelled images too, at every load.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import file_identity, read_bytes, read_text
from nni_dream.automl.data.images import ArrayImages
from nni_dream.automl.data.origins import find_folder, missing
from nni_dream.automl.data.parts import Part, Parts

__all__ = ["read_stl10"]

IMAGE_SHAPE: Final = (3, 96, 96)  # stored column by column


def read_stl10(data_dir: Path) -> Parts:
    """Read ``stl10_binary``.

    Raises:
        DataError: If a file is missing or is cut off.
    """
    folder = find_folder("stl10", data_dir, ["stl10_binary"], "train_X.bin")
    if not (folder / "class_names.txt").exists():
        raise missing("stl10", "class_names.txt", [folder])
    classes = read_text(folder / "class_names.txt").split()
    return Parts(_read_part(folder, "train"), classes, test=_read_part(folder, "test"))


def _read_part(folder: Path, part: str) -> Part:
    pixel_file, label_file = folder / f"{part}_X.bin", folder / f"{part}_y.bin"
    for file in (pixel_file, label_file):
        if not file.exists():
            raise missing("stl10", file.name, [folder])
    n_bytes, n_values = pixel_file.stat().st_size, int(np.prod(IMAGE_SHAPE))
    if n_bytes == 0 or n_bytes % n_values:
        raise DataError(f"{pixel_file}: has {n_bytes} bytes, no multiple of the {n_values} of an image: it is cut off")
    columns = np.memmap(pixel_file, dtype=np.uint8, mode="r").reshape(-1, *IMAGE_SHAPE)
    targets = np.frombuffer(read_bytes(label_file), dtype=np.uint8).astype(np.int64) - 1  # published as 1 to 10
    images = ArrayImages(columns.transpose(0, 1, 3, 2), lambda: file_identity(pixel_file))  # (N, 3, 96, 96)
    return Part(images, targets, f"{pixel_file}, {label_file.name}")
