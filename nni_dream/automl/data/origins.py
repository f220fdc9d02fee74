"""Where published data comes from: what to say when it is missing, and how to fetch it when asked."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from nni_dream.automl.data.errors import DataError, MissingDataError

__all__ = ["ORIGINS", "Origin", "fetch", "find_folder", "missing"]

TIMEOUT_SECONDS: Final = 60.0  # of silence
CHUNK_BYTES: Final = 2**20
ARCHIVES: Final = (".zip", ".tar.gz", ".tgz")

_logger = logging.getLogger(__name__)


class Origin(NamedTuple):
    """A published data set: how to get it by hand, and its files if they can be fetched."""

    advice: str
    urls: tuple[str, ...] = ()  # empty: nobody serves it
    md5: str | None = None  # of the single file; None: not published


# URLs and sums of CIFAR, STL-10 and Food-101 are torchvision's.
ORIGINS: Final = {  # name -> Origin
    "cifar10": Origin(
        "or a zip of train/<class>/*.jpg and test/<class>/*.jpg",
        ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
        "c58f30108f718f92721af3b95e74349a",
    ),
    "cifar100": Origin(
        "as published",
        ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
        "eb9058c3a382ffc7106e4002c42a8d85",
    ),
    "stl10": Origin(
        "as published",
        ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
        "91f7769df0f17e558f3565bffb0c7dfb",
    ),
    "food101": Origin(
        "as published",
        ("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
        "85eeb15f3717b99a5da872d97d918f87",
    ),
    "stanford_cars": Origin(
        "its authors no longer serve it; from a copy, put devkit/, cars_train/, cars_test/ and "
        "cars_test_annos_withlabels.mat into a folder stanford_cars"
    ),
    "tiny_imagenet": Origin(
        "as published, unpacked or not",
        ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
        "90528d7ca1a48142e341f4ef8d21d0de",
    ),
    "reuters": Origin(
        "or one *train*.txt and one *test*.txt with lines of label<TAB>text",
        ("https://archive.ics.uci.edu/ml/machine-learning-databases/reuters21578-mld/reuters21578.tar.gz",),
    ),
    "trec": Origin(
        "as published",
        (
            "https://cogcomp.seas.upenn.edu/Data/QA/QC/train_5500.label",
            "https://cogcomp.seas.upenn.edu/Data/QA/QC/TREC_10.label",
        ),
    ),
    "imdb": Origin(
        "as published",
        ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
        "7c2ac02c03563afcf9b574c7e56c153a",
    ),
    "mr": Origin(
        "as published",
        ("https://www.cs.cornell.edu/people/pabo/movie-review-data/rt-polaritydata.tar.gz",),
    ),
}


def missing(name: str, looked_for: str, places: Sequence[Path]) -> MissingDataError:
    """The one message for data that is not there: what, where, and how to get it."""
    origin = ORIGINS[name]
    where = ", ".join(str(place) for place in places)
    if not origin.urls:
        return MissingDataError(f"{name}: found no {looked_for} in {where}; {origin.advice}")
    urls = " and ".join(origin.urls)
    return MissingDataError(
        f"{name}: found no {looked_for} in {where}; allow the download (--download), or get it from {urls} "
        f"and give the folder that holds it ({origin.advice})"
    )


def find_folder(name: str, data_dir: Path, published: Sequence[str], marker: str) -> Path:
    """Return the folder with a file or folder called ``marker``: the data folder or one inside.

    Args:
        published: Names that the folder has when it is unpacked.

    Raises:
        MissingDataError: If it is in none of them.
    """
    bases = [data_dir, data_dir / name]
    places = [*bases, *(base / folder for base in bases for folder in published)]
    for place in places:
        if (place / marker).exists():
            return place
    raise missing(name, marker, [data_dir, *(data_dir / folder for folder in (name, *published))])


def fetch(name: str, data_dir: Path) -> None:
    """Download a published data set into the data folder, check its sum where one is published, and unpack it.

    Everything is prepared beside its place and moved there when it is complete.

    Raises:
        DataError: If nobody serves it, it cannot be fetched, or it is not what was published.
    """
    origin = ORIGINS[name]
    if not origin.urls:
        raise DataError(f"{name}: cannot be downloaded: {origin.advice}")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=data_dir) as folder:
            unpacked = Path(folder) / "unpacked"
            unpacked.mkdir()
            for url in origin.urls:
                _fetch_one(name, url, origin.md5, Path(folder), unpacked)
            _move_into(unpacked, data_dir if _is_one_folder(unpacked) else data_dir / name)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        urls = " and ".join(origin.urls)
        raise DataError(f"{name}: download into {data_dir} failed: {error}; get it by hand from {urls}") from error


def _fetch_one(name: str, url: str, md5: str | None, folder: Path, unpacked: Path) -> None:
    _logger.info("%s: downloading %s", name, url)
    file = folder / url.rpartition("/")[2]
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, file.open("wb") as kept:
        shutil.copyfileobj(answer, kept, CHUNK_BYTES)
    if md5 is not None and (found := _md5(file)) != md5:
        raise DataError(f"{name}: {url} has the MD5 sum {found}, published is {md5}: nothing was unpacked")
    if not file.name.endswith(ARCHIVES):
        file.replace(unpacked / file.name)
    elif file.name.endswith(".zip"):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(unpacked)
    else:
        _unpack_tar(file, unpacked)


def _unpack_tar(file: Path, folder: Path) -> None:
    """Unpack files and folders; links are passed over, names that lead out of the folder refused.

    Python's own filter for that is not in the 3.11.2 that Debian 12 has.
    """
    inside = folder.resolve()
    with tarfile.open(file) as archive:
        for member in archive:
            target = (inside / member.name).resolve()
            if not target.is_relative_to(inside):
                raise tarfile.TarError(f"{member.name!r} lies outside the destination")
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            source = archive.extractfile(member) if member.isfile() else None
            if source is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                with source, target.open("wb") as kept:
                    shutil.copyfileobj(source, kept, CHUNK_BYTES)


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _is_one_folder(unpacked: Path) -> bool:
    return [entry.is_dir() for entry in unpacked.iterdir()] == [True]


def _move_into(unpacked: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in unpacked.iterdir():
        entry.replace(target / entry.name)
