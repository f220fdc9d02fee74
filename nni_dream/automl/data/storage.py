"""Decoded images, kept: in memory below a limit, else memory-mapped; on disk for every later trial.

A cache file is the array of one choice of rows at one size, in NumPy's format.  Its name is a hash of what went in (see
:meth:`nni_dream.automl.data.images.Images.identity`), so a changed file means another name.  It is written beside its
place and renamed when complete; of several trials that need the same one, the first decodes and the others wait.
Nothing removes old files: the folder may be deleted whenever no trial runs.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.images import ArrayImages, Images, ImageSize

__all__ = ["MEMORY_LIMIT_BYTES", "ImageStorage", "default_cache_folder"]

MEMORY_LIMIT_BYTES: Final = 512 * 2**20  # of one split's decoded images; above, trials share one memory-mapped file
FORMAT_VERSION: Final = "2"  # a new one when decoding or resizing changes: old files are then not used
PRIVATE: Final = 0o700

_logger = logging.getLogger(__name__)


def default_cache_folder() -> Path:
    """``$XDG_CACHE_HOME/nni_dream``, else ``~/.cache/nni_dream``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nni_dream"


@dataclass(frozen=True)
class ImageStorage:
    """Where decoded images are kept, and how much of them in memory."""

    memory_limit_bytes: int = MEMORY_LIMIT_BYTES
    cache_folder: Path = field(default_factory=default_cache_folder)

    def load(self, images: Images, size: ImageSize | None) -> Tensor:
        """Return the pixels, uint8 (N, C, H, W), decoding them only if no trial did before.

        Raises:
            DataError: If an image cannot be read, or the pixels fit neither in the limit nor on the disk.
        """
        if isinstance(images, ArrayImages) and size in (None, images.size) and self._fits(images.n_bytes):
            return torch.from_numpy(images.to_array())
        path = self.cache_folder / f"images-{_key(images, size)}.npy"
        try:
            return self._open(path, images, size)
        except OSError as error:
            return self._load_without_cache(images, size, error)

    def _fits(self, n_bytes: int) -> bool:
        return n_bytes <= self.memory_limit_bytes

    def _open(self, path: Path, images: Images, size: ImageSize | None) -> Tensor:
        kept = self._read(path, len(images))
        if kept is None:
            path.parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                kept = self._read(path, len(images))  # another trial may have written it meanwhile
                if kept is None:
                    _write(path, images, size)
                    kept = self._read(path, len(images))
        if kept is None:
            raise OSError(f"{path} cannot be read back")
        return torch.from_numpy(kept)

    def _read(self, path: Path, n_rows: int) -> NDArray[Any] | None:
        """The kept array; None when there is none, or a torn one."""
        try:
            mapped = np.load(path, mmap_mode="c", allow_pickle=False)  # copy on write: the file stays as it is
        except FileNotFoundError:
            return None
        except (ValueError, EOFError) as error:
            _logger.warning("%s is broken, the images are decoded again: %s", path, error)
            return None
        if mapped.dtype != np.uint8 or mapped.ndim != 4 or len(mapped) != n_rows:
            _logger.warning("%s holds %s %s, the images are decoded again", path, mapped.dtype, mapped.shape)
            return None
        return np.array(mapped) if self._fits(mapped.nbytes) else mapped

    def _load_without_cache(self, images: Images, size: ImageSize | None, error: OSError) -> Tensor:
        blocks = []
        n_bytes = 0
        for block in images.blocks(size):
            blocks.append(block)
            n_bytes += block.nbytes
            if not self._fits(n_bytes):
                raise DataError(
                    f"{self.cache_folder}: cannot be written ({error}), and the images need more than the memory limit "
                    f"of {self.memory_limit_bytes} bytes; set XDG_CACHE_HOME to a folder with room, or raise the limit"
                ) from error
        _logger.warning("%s cannot be written (%s): every trial decodes its images", self.cache_folder, error)
        return torch.from_numpy(np.concatenate(blocks))


def _key(images: Images, size: ImageSize | None) -> str:
    digest = hashlib.sha256(f"{FORMAT_VERSION} {size}\n".encode())
    for text in images.identity():
        digest.update(f"{text}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _write(path: Path, images: Images, size: ImageSize | None) -> None:
    """Write block by block, with ordinary writes: on a full disk they fail, a mapped page would end the process."""
    for left_over in path.parent.glob(f"{path.stem}.draft*"):  # of a process that was killed: the lock is ours
        left_over.unlink(missing_ok=True)
    draft = path.with_suffix(f".draft{os.getpid()}")
    try:
        with draft.open("wb") as file:
            _write_array(file, images.blocks(size), len(images))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _write_array(file: IO[bytes], blocks: Iterator[NDArray[np.uint8]], n_rows: int) -> None:
    for index, block in enumerate(blocks):
        if index == 0:
            header = {"descr": "|u1", "fortran_order": False, "shape": (n_rows, *block.shape[1:])}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(block.tobytes())
