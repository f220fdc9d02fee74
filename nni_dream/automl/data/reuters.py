"""Reuters-21578: its SGML files, or one file of label<TAB>text lines for train and one for test.

From SGML: the ModApte split (LEWISSPLIT TRAIN or TEST with TOPICS="YES"), the stories that have exactly one topic, and
of these the topics that occur in both parts; all others are left out.  The text is the title and the body.  This is not
the choice of 46 topics that Keras ships and the paper used.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import read_text
from nni_dream.automl.data.origins import missing
from nni_dream.automl.data.parts import Part, Parts, encode_labels, known_classes

__all__ = ["read_reuters"]

SGML_FILES: Final = "reut2-*.sgm"
SGML_ENCODING: Final = ("latin-1",)  # as published; a few bytes are not ASCII
STORY: Final = re.compile(r"<REUTERS\b([^>]*)>(.*?)</REUTERS>", re.DOTALL)
STORY_START: Final = re.compile(r"<REUTERS\b")
ATTRIBUTE: Final = re.compile(r'(\w+)="([^"]*)"')
TOPICS: Final = re.compile(r"<TOPICS>(.*?)</TOPICS>", re.DOTALL)
TOPIC: Final = re.compile(r"<D>(.*?)</D>")
TEXT: Final = re.compile(r"<TEXT\b[^>]*>(.*?)</TEXT>", re.DOTALL)
TITLE: Final = re.compile(r"<TITLE>(.*?)</TITLE>", re.DOTALL)
BODY: Final = re.compile(r"<BODY>(.*?)</BODY>", re.DOTALL)
TAG: Final = re.compile(r"</?[A-Z]+\b[^>]*>")
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class _Line(NamedTuple):
    label: str
    text: str
    place: str


def read_reuters(data_dir: Path) -> Parts:
    """Read ``reut2-*.sgm``, else a ``*train*.txt`` and a ``*test*.txt`` file.

    Raises:
        DataError: If neither is there, a story is cut off, or a line has no label, no tabulator or no text.
    """
    places = [data_dir, data_dir / "reuters", data_dir / "reuters21578"]
    for folder in places:
        if files := sorted(folder.glob(SGML_FILES)):
            return _read_sgml(folder, files)
        train, test = (sorted(folder.glob(pattern)) for pattern in ("*train*.txt", "*test*.txt"))
        if train and test:
            return _read_tabbed(train, test)
    raise missing("reuters", f"{SGML_FILES} and no *train*.txt with *test*.txt", places)


def _read_tabbed(train: Sequence[Path], test: Sequence[Path]) -> Parts:
    for files in (train, test):
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise DataError(f"{files[0].parent}: which of {names}? Leave one file for each of train and test")
    return _make_parts(_read_lines(train[0]), _read_lines(test[0]), str(train[0]), str(test[0]))


def _read_lines(file: Path) -> list[_Line]:
    lines = []
    for number, line in enumerate(read_text(file).rstrip("\n").split("\n"), start=1):
        label, _, text = line.partition("\t")
        if not label.strip() or not text.strip():
            raise DataError(f"{file}:{number}: is {line[:60]!r}, expected label<TAB>text")
        lines.append(_Line(label.strip(), text.strip(), f"{file}:{number}"))
    return lines


def _read_sgml(folder: Path, files: Sequence[Path]) -> Parts:
    parts: dict[str, list[_Line]] = {"TRAIN": [], "TEST": []}
    for file in files:
        for split, line in _read_stories(file):
            parts[split].append(line)
    shared = {line.label for line in parts["TRAIN"]} & {line.label for line in parts["TEST"]}
    if not shared:
        raise DataError(f"{folder}: no topic has stories in train and in test; are all 22 files {SGML_FILES} there?")
    train, test = ([line for line in parts[split] if line.label in shared] for split in ("TRAIN", "TEST"))
    return _make_parts(train, test, f"{folder}/{SGML_FILES}, train", f"{folder}/{SGML_FILES}, test")


def _read_stories(file: Path) -> list[tuple[str, _Line]]:
    """The stories of the ModApte split that have one topic, with ``TRAIN`` or ``TEST``."""
    content = read_text(file, SGML_ENCODING)
    stories = STORY.findall(content)
    n_started = len(STORY_START.findall(content))
    if not stories or len(stories) != n_started:
        raise DataError(f"{file}: {n_started} stories begin but {len(stories)} are whole: it is cut off or no SGML")
    found = []
    for head, story in stories:
        attributes = dict(ATTRIBUTE.findall(head))
        split = attributes.get("LEWISSPLIT")
        topics = TOPIC.findall("".join(TOPICS.findall(story)))
        if attributes.get("TOPICS") != "YES" or split not in ("TRAIN", "TEST") or len(topics) != 1:
            continue
        place = f"{file}: story {attributes.get('NEWID', '?')}"
        found.append((split, _Line(html.unescape(topics[0]), _read_text(story, place), place)))
    return found


def _read_text(story: str, place: str) -> str:
    """Title and body; where neither is marked, all of the text."""
    whole = "".join(TEXT.findall(story))
    marked = [*TITLE.findall(whole), *BODY.findall(whole)]
    text = html.unescape("\n".join(marked) if marked else TAG.sub(" ", whole))
    text = CONTROL.sub(" ", text).strip()
    if not text:
        raise DataError(f"{place}: has no text")
    return text


def _make_parts(train: Sequence[_Line], test: Sequence[_Line], train_where: str, test_where: str) -> Parts:
    classes = known_classes(line.label for line in train)
    return Parts(_make_part(train, classes, train_where), classes, test=_make_part(test, classes, test_where))


def _make_part(lines: Sequence[_Line], classes: Sequence[str], where: str) -> Part:
    targets = encode_labels([line.label for line in lines], classes, [line.place for line in lines])
    return Part([line.text for line in lines], targets, where)
