"""Files by name, in a folder or in a zip that is read without unpacking; and what tells one content from another."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from nni_dream.automl.data.errors import DataError

__all__ = ["FileTree", "StoredFile", "file_identity", "files_in", "open_tree", "read_bytes", "read_text"]

UTF_8: Final = ("utf-8-sig",)  # with or without a byte-order mark
UTF_8_NAME: Final = 0x800  # flag of a zip's entry


class StoredFile(Protocol):
    """One file, wherever it is kept."""

    @property
    def where(self) -> str:
        """For messages: the path, or the zip's path and the name inside."""

    def read(self) -> bytes:
        """Return the content; a DataError names the file when that fails."""

    def identity(self) -> str:
        """Text that changes with the content, without reading it."""


class _FolderFile(NamedTuple):
    where: str

    def read(self) -> bytes:
        return read_bytes(Path(self.where))

    def identity(self) -> str:
        return file_identity(Path(self.where))


class _ZippedFile(NamedTuple):
    archive: zipfile.ZipFile
    entry: zipfile.ZipInfo
    name: str

    @property
    def where(self) -> str:
        return f"{self.archive.filename}: {self.name}"

    def read(self) -> bytes:
        try:
            return self.archive.read(self.entry)
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: encrypted
            raise DataError(f"{self.where}: cannot be read: {error}") from error

    def identity(self) -> str:
        return f"{self.name} {self.entry.file_size} {self.entry.CRC:08x}"


class FileTree(NamedTuple):
    """Relative names, with slashes and in order, of files and of folders; hidden ones are left out."""

    where: str
    files: Mapping[str, StoredFile]
    folders: frozenset[str]

    def under(self, folder: str) -> FileTree:
        """The tree below a folder, which need not exist."""
        prefix = f"{folder}/"
        files = {name.removeprefix(prefix): file for name, file in self.files.items() if name.startswith(prefix)}
        folders = {name.removeprefix(prefix) for name in self.folders if name.startswith(prefix)}
        separator = ": " if self.where.endswith(".zip") else "/"
        return FileTree(f"{self.where}{separator}{folder}", files, frozenset(folders))

    def by_folder(self) -> dict[str, dict[str, StoredFile]]:
        """Folder -> name in it -> file, in one pass."""
        folders: dict[str, dict[str, StoredFile]] = {}
        for name, file in self.files.items():
            folder, _, own = name.rpartition("/")
            folders.setdefault(folder, {})[own] = file
        return folders

    def top_folders(self) -> list[str]:
        """Names of the folders at the top, in order."""
        return sorted(name for name in self.folders if "/" not in name)


def open_tree(path: Path) -> FileTree:
    """List a folder or a zip; nothing is read or unpacked yet.

    Raises:
        DataError: If the path is neither, or the zip is broken or holds a name twice.
    """
    if path.is_dir():
        return _folder_tree(path)
    try:
        return _zip_tree(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is neither a folder nor a zip that can be read: {error}") from error


def _folder_tree(root: Path) -> FileTree:
    files: dict[str, StoredFile] = {}
    folders = set()
    way = {str(root): frozenset([root.resolve()])}  # folder -> real paths of it and of those on the way to it
    for folder, subfolders, names in os.walk(root, followlinks=True):
        above = way.pop(folder)
        real = {name: Path(folder, name).resolve() for name in subfolders if not _is_hidden(name)}
        subfolders[:] = sorted(name for name, target in real.items() if not _holds_any(target, above))
        way |= {os.path.join(folder, name): above | {real[name]} for name in subfolders}
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        folders |= {prefix + name for name in subfolders}
        files |= {prefix + name: _FolderFile(os.path.join(folder, name)) for name in names if not _is_hidden(name)}
    return FileTree(str(root), dict(sorted(files.items())), frozenset(folders))


def _holds_any(folder: Path, others: frozenset[Path]) -> bool:
    """Whether it is one of the others or around one: a link to it would lead to the same files again."""
    return any(other.is_relative_to(folder) for other in others)


def _zip_tree(path: Path) -> FileTree:
    archive = zipfile.ZipFile(path)
    files: dict[str, StoredFile] = {}
    folders: set[str] = set()
    for name, entry in sorted(_named_entries(archive), key=lambda named: named[0]):
        inside = name.strip("/")
        if any(map(_is_hidden, inside.split("/"))):
            continue
        if name.endswith("/"):
            folders |= {inside, *_folders_above(inside)}
            continue
        if inside in files:
            raise DataError(f"{path}: holds {inside} twice: which one is meant? Pack it again")
        files[inside] = _ZippedFile(archive, entry, inside)
        if inside.rpartition("/")[0] not in folders:  # once a folder: zips hold tens of thousands of files
            folders |= _folders_above(inside)
    return FileTree(str(path), files, frozenset(folders))


def _named_entries(archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    """Entries with their names as they were written; old Windows tools wrote backslashes for slashes."""
    named = [(_entry_name(entry), entry) for entry in archive.infolist()]
    if any("/" in name for name, _ in named):
        return named
    return [(name.replace("\\", "/"), entry) for name, entry in named]


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """Its name; Info-ZIP writes UTF-8 without the mark for it, and Python then reads the code page of MS-DOS."""
    if entry.flag_bits & UTF_8_NAME:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _folders_above(name: str) -> set[str]:
    parts = name.split("/")[:-1]
    return {"/".join(parts[: depth + 1]) for depth in range(len(parts))}


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def files_in(folder: Path) -> list[Path]:
    """Files at the top of a folder, in order; hidden ones are left out, links that lead nowhere are not."""
    return [path for path in sorted(folder.glob("*")) if not _is_hidden(path.name) and not path.is_dir()]


def file_identity(path: Path) -> str:
    """Path, size and times of change.  The change time (ctime) moves with every write and cannot be set back.

    Raises:
        DataError: If there is no such file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def read_bytes(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def read_text(path: Path, encodings: tuple[str, ...] = UTF_8, *, way_out: str = "") -> str:
    """Return a file's text, in the first of the encodings that fits.

    Args:
        way_out: What to do where none fits, for the message.

    Raises:
        DataError: If it cannot be read, or is in none of them.
    """
    content = read_bytes(path)
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            problem = f"byte 0x{content[error.start]:02x} at offset {error.start}"
        except LookupError as error:
            raise DataError(f"encoding {encoding!r} is unknown") from error
    raise DataError(f"{path}: is not {' or '.join(encodings)} text: {problem}{way_out}")
