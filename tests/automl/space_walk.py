"""Walk through a search space in NNI's format."""

import json
from pathlib import Path
from typing import NamedTuple

SPACES = Path(__file__, "../../../experiment_configs/spaces").resolve()


def read_space(name):
    return json.loads((SPACES / f"{name}.json").read_text(encoding="utf-8"))


class Place(NamedTuple):
    """A parameter at its place: `path` has (choice, option) pairs that must be true for it to be there."""

    path: tuple
    name: str
    values: tuple  # of a nested choice, the names of its options

    def __str__(self):
        return ".".join([*(option for _, option in self.path), self.name])

    def configuration(self, value, context=None):
        """The nested configuration in which this parameter has the value; `context` goes beside it, and on the way."""
        inner = {self.name: {"_name": value} if self.is_nested(value) else value}
        for choice, option in reversed(self.path):
            inner = {choice: {"_name": option, **(context or {}).get(option, {}), **inner}}
        return inner

    def is_nested(self, value):
        return value in self.nested

    @property
    def nested(self):
        return [value for value in self.values if isinstance(value, Option)]


class Option(str):
    """The name of an option of a nested choice."""


def places(space, path=()):
    for name, node in space.items():
        if name == "_name":
            continue
        values = [Option(value["_name"]) if isinstance(value, dict) else value for value in node["_value"]]
        yield Place(path, name, tuple(values))
        for value in node["_value"]:
            if isinstance(value, dict):
                yield from places(value, (*path, (name, value["_name"])))


def draw(node, rng):
    """Draw a configuration as NNI's Random tuner does."""
    if isinstance(node, dict) and "_type" in node:
        return draw(rng.choice(node["_value"]), rng)
    return {name: draw(inner, rng) for name, inner in node.items()} if isinstance(node, dict) else node
