"""Users' own images: a folder or a zip with one folder for each class, below train/ and test/ or at the top.

``class/x.jpg``, or ``train/class/x.jpg`` with ``test/class/x.jpg`` and ``validation/class/x.jpg`` where they exist
(also in capitals, and as ``training``, ``testing``, ``val`` and ``valid``).  One folder around it all is passed
through.  Files that are no images by their name are passed over, and a note counts them; an image outside a class
folder, or beside the parts, is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from PIL import Image

from nni_dream.automl.data.errors import DataError, MissingDataError
from nni_dream.automl.data.files import FileTree, StoredFile, open_tree
from nni_dream.automl.data.images import EncodedImages
from nni_dream.automl.data.parts import PART_NAMES, Part, Parts, encode_labels

__all__ = ["IMAGE_SUFFIXES", "has_split_folders", "is_image", "open_split_zips", "read_folder", "read_image_tree"]

ALWAYS_READ: Final = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
READ_BY_SOME: Final = (".jpe", ".jfif", ".jp2", ".tga", ".avif")  # where the installed Pillow was built with them
IMAGE_SUFFIXES: Final = (*ALWAYS_READ, *(name for name in READ_BY_SOME if name in Image.registered_extensions()))


def read_folder(data_dir: Path) -> Parts:
    """Read a folder or a zip of image folders; a folder may instead hold one such zip.

    Raises:
        DataError: If there is none, a class has no image, an image has no class, or images are beside the parts.
    """
    if not data_dir.exists():
        raise MissingDataError(
            f"folder: found nothing at {data_dir}; give a folder or a zip with one folder of images for each class"
        )
    zips = sorted(data_dir.glob("*.zip")) if data_dir.is_dir() else []
    is_packed = len(zips) == 1 and not any(entry.is_dir() for entry in data_dir.iterdir())
    tree = _unwrapped(open_tree(zips[0] if is_packed else data_dir))
    _refuse_left_over(tree)
    return _read_unwrapped(tree)


def open_split_zips(folder: Path) -> list[FileTree]:
    """The zips in a folder that hold train/ and test/, in order."""
    return [tree for path in sorted(folder.glob("*.zip")) if has_split_folders(tree := open_tree(path))]


def has_split_folders(tree: FileTree) -> bool:
    """Whether train/ and test/ are at the top."""
    return {"train", "test"} <= _part_folders(tree).keys()


def read_image_tree(tree: FileTree) -> Parts:
    """Read the images' names and classes; none is decoded."""
    return _read_unwrapped(_unwrapped(tree))


def _read_unwrapped(tree: FileTree) -> Parts:
    parts = _part_folders(tree)
    if "train" not in parts:
        classes = _class_folders(tree)
        _refuse_parts(tree, classes)
        return Parts(_read_part(tree, classes), classes, notes=_notes([tree]))
    classes = _class_folders(tree.under(parts["train"]))
    trees = {part: tree.under(folder) for part, folder in parts.items()}
    read = {part: _read_part(inside, classes) for part, inside in trees.items()}
    notes = _notes(trees.values())
    return Parts(read["train"], classes, validation=read.get("validation"), test=read.get("test"), notes=notes)


def _notes(parts: Iterable[FileTree]) -> tuple[str, ...]:
    """Tell which files of class folders are left out: a phone's pictures may be among them."""
    names = [name for tree in parts for name in tree.files if "/" in name and not is_image(name)]
    if not names:
        return ()
    counts = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)
    listed = ", ".join(f"{suffix} {n}" for suffix, n in counts.most_common())
    return (f"files of class folders that are left out, being no images by their suffix: {len(names)} ({listed})",)


def _class_folders(tree: FileTree) -> list[str]:
    """Return the names of the folders at the top, all of which can be written to a model's description and card."""
    names = tree.top_folders()
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"{tree.where}: the name of folder {name!r} is not UTF-8; rename it") from error
    return names


def _part_folders(tree: FileTree) -> dict[str, str]:
    """Return part -> the folder at the top that has its name; a class may have it too, such as train of vehicles."""
    folders = {folder.lower(): folder for folder in tree.top_folders()}
    found = {part: next((name for name in names if name in folders), None) for part, names in PART_NAMES.items()}
    parts = {part: folders[name] for part, name in found.items() if name is not None}
    is_class = len(parts) == 1 < len(folders) and not any(_has_folders(tree, folder) for folder in parts.values())
    return {} if is_class else parts


def _has_folders(tree: FileTree, folder: str) -> bool:
    return any(name.startswith(f"{folder}/") for name in tree.folders)


def _refuse_left_over(tree: FileTree) -> None:
    """Refuse images beside the parts: a part by another name would be missing, and nobody would know."""
    parts = _part_folders(tree)
    others = set(tree.top_folders()) - set(parts.values())
    left_over = sorted(others & {name.partition("/")[0] for name in tree.files if is_image(name)})
    if "train" in parts and left_over:
        raise DataError(
            f"{tree.where}: {', '.join(left_over)} would not be used beside {parts['train']}: "
            "call the parts train, validation and test, or move away what is none of them"
        )


def _refuse_parts(tree: FileTree, folders: Sequence[str]) -> None:
    """Refuse folders that would be taken for classes and are parts of the data: the same classes are in all.

    Parts have no image of their own: those that have one are classes, whatever folders are in them.
    """
    inner = [tree.under(folder).top_folders() for folder in folders]
    has_images = any(name.count("/") == 1 and is_image(name) for name in tree.files)
    if len(folders) > 1 and inner[0] and all(each == inner[0] for each in inner) and not has_images:
        raise DataError(
            f"{tree.where}: {', '.join(folders)} hold the same folders ({', '.join(inner[0])}): if they are parts of "
            "the data, call them train, validation and test; if they are classes, put their images directly into them"
        )


def _unwrapped(tree: FileTree) -> FileTree:
    """Pass through a single folder around everything, which many zips have."""
    top = tree.top_folders()
    is_wrapped = len(top) == 1 and not _part_folders(tree) and bool(tree.under(top[0]).top_folders())
    return tree.under(top[0]) if is_wrapped else tree


def _read_part(tree: FileTree, classes: Sequence[str]) -> Part:
    if not classes:
        raise DataError(f"{tree.where}: has no folders; put the images of each class into a folder of its own")
    images: list[StoredFile] = []
    labels = []
    for name, file in tree.files.items():
        if not is_image(name):
            continue
        label, slash, _ = name.partition("/")
        if not slash:
            raise DataError(f"{file.where}: is in no class folder; move it into one, or away")
        images.append(file)
        labels.append(label)
    empty = sorted(set(tree.top_folders()) - set(labels))
    if empty:
        raise DataError(f"{tree.under(empty[0]).where}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
    targets = encode_labels(labels, classes, [image.where for image in images])
    return Part(EncodedImages(images), targets, tree.where)


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return name.lower().endswith(IMAGE_SUFFIXES)
