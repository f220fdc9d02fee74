"""Search-space files as NNI reads them: as JSON, else as YAML 1.1; or the space of an experiment's YAML.

NNI says nothing when it falls back to YAML 1.1, to which ``4e-5`` is text and ``on`` is true: what such a file turns
into is told here, in notes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from nni_dream.feedback import Json
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import BRANCH_KEY, SearchSpace, SearchSpaceError

__all__ = ["SpaceFile", "SpaceFileError", "read_space_file"]

NUMBER_WITH_EXPONENT: Final = re.compile(r"([-+]?)(\d+)(?:\.(\d*))?[eE]([-+]?)(\d+)")


class SpaceFileError(ValueError):
    """A file holds no usable search space; the message names the file, the parameter or the line, and the rule."""


@dataclass(frozen=True)
class SpaceFile:
    """A search space as it came from a file."""

    path: Path  # of the space itself, where an experiment's YAML only names it
    definition: Mapping[str, Json]  # as NNI gives it to the tuner
    space: SearchSpace
    roles: Mapping[str, str]  # stated in the experiment's YAML
    notes: tuple[str, ...]  # what runs but may surprise


@dataclass(frozen=True)
class _Document:
    content: Json
    notes: tuple[str, ...]
    is_yaml: bool


def read_space_file(path: Path) -> SpaceFile:
    """Read a search-space file, or the search space of an experiment's YAML with the roles that it states.

    Raises:
        SpaceFileError: If NNI or the tuner could not read it.
    """
    document = _read_document(path)
    experiment = _experiment(document.content)
    if experiment is None:
        return _space_file(path, document, {})
    roles = _stated_roles(path, experiment)
    if experiment.get("searchspacefile") is not None:
        named = path.parent / os.path.expanduser(str(experiment["searchspacefile"]))
        return _space_file(named, _read_document(named), roles)
    if "searchspace" not in experiment and "searchspacefile" not in experiment:
        raise SpaceFileError(f"{path}: the experiment has neither searchSpace nor searchSpaceFile")
    as_nni_loads_it = _experiment(_load_yaml(path, _read_text(path)))  # always YAML, JSON or not
    return _space_file(path, _Document((as_nni_loads_it or {}).get("searchspace"), (), True), roles)


def _space_file(path: Path, document: _Document, roles: Mapping[str, str]) -> SpaceFile:
    notes = (*document.notes, *_surprises(document.content, (), document.is_yaml))
    try:
        definition = json.loads(json.dumps(document.content))  # as it travels from NNI's manager to the tuner
        space = SearchSpace(definition, roles)
        space.check_roles(roles)
    except (SearchSpaceError, TypeError, ValueError, RecursionError) as error:
        raise SpaceFileError("; ".join([f"{path}: {error}", *notes])) from None
    return SpaceFile(path, definition, space, roles, notes)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceFileError(f"{path}: cannot be read: {error}") from error


def _read_document(path: Path) -> _Document:
    text = _read_text(path)
    repeated: list[str] = []

    def join(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        names = [name for name, _ in pairs]
        repeated.extend(dict.fromkeys(name for name in names if names.count(name) > 1))
        return dict(pairs)

    try:
        content = json.loads(text, object_pairs_hook=join)
    except (ValueError, RecursionError) as error:
        note = f"not JSON ({_json_problem(error)}), so NNI reads it as YAML 1.1"
        return _Document(_load_yaml(path, text, f"neither JSON ({_json_problem(error)}) nor YAML 1.1"), (note,), True)
    notes = (f"{name!r} is there twice in one object: the last one counts" for name in repeated)
    return _Document(content, tuple(notes), False)


def _load_yaml(path: Path, text: str, what: str = "not YAML 1.1") -> Json:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpaceFileError(f"{path}: {what} ({_yaml_problem(error)})") from None


def _json_problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    return str(error)


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def _experiment(content: Json) -> dict[str, Json] | None:
    """The fields of an experiment's YAML under their names without case and ``_``; ``None`` for a search space."""
    fields = {_field(name): value for name, value in content.items()} if isinstance(content, Mapping) else {}
    space = fields.get("searchspace")
    is_parameter = isinstance(space, Mapping) and "_type" in space
    has_space = "searchspacefile" in fields or ("searchspace" in fields and not is_parameter)
    return fields if has_space or isinstance(fields.get("trialcommand"), str) else None


def _field(name: Json) -> str:
    return str(name).replace("_", "").lower()


def _stated_roles(path: Path, experiment: Mapping[str, Json]) -> Mapping[str, str]:
    tuner = experiment.get("tuner")
    fields = tuner if isinstance(tuner, Mapping) else {}
    arguments = next((fields[name] for name in fields if _field(name) == "classargs"), None)
    roles = arguments.get("roles", {}) if isinstance(arguments, Mapping) else {}
    if not isinstance(roles, Mapping) or not all(isinstance(role, str) for role in roles.values()):
        raise SpaceFileError(f"{path}: roles is {roles!r}, expected the name and the role of each parameter")
    return {str(name): role for name, role in roles.items()}


def _surprises(definition: Json, path: tuple[str, ...], is_yaml: bool) -> Iterator[str]:
    """What NNI and the tuner make of a definition that its writer may not have meant."""
    if not isinstance(definition, Mapping):
        return
    for name, spec in definition.items():
        values = spec.get("_value") if isinstance(spec, Mapping) else None
        if name == BRANCH_KEY or not isinstance(values, list):
            continue
        where = f"parameter {'.'.join((*path, str(name)))!r}"
        if not isinstance(name, str):
            yield f"{where} is no text to YAML 1.1: NNI calls it {json.dumps(name)!r}; put it into quotes"
        if is_yaml:
            yield from _numbers_as_text(where, values)
        if spec.get("_type") == "choice":
            yield from _repeated(where, values)
        for value in values:
            yield from _surprises(value, (*path, str(name)), is_yaml)


def _repeated(where: str, values: list[Json]) -> Iterator[str]:
    texts = [canonical_json(value) for value in values if _is_json(value) and not isinstance(value, Mapping)]
    repeated = dict.fromkeys(text for text in texts if texts.count(text) > 1)
    if repeated:
        yield f"{where}: {', '.join(repeated)} is there more than once and counts once"


def _numbers_as_text(where: str, values: list[Json]) -> Iterator[str]:
    for value in values:
        number = NUMBER_WITH_EXPONENT.fullmatch(value) if isinstance(value, str) else None
        if number is not None:
            sign, whole, fraction, exponent_sign, exponent = number.groups()
            meant = f"{sign}{whole}.{fraction or '0'}e{exponent_sign or '+'}{exponent}"
            yield f"{where}: {value!r} is text to YAML 1.1, not a number; write {meant}"


def _is_json(value: Json) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
