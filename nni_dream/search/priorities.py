"""Priority tables: which action to try first in which condition (DREAM section 4.2.3, Table 2).

A table is a JSON file.  Each row belongs to one condition and lists actions, best first.  A table that was measured
states each action's mean gain; one that only ranks, such as the paper's Table 2, does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from nni_dream.feedback import Json
from nni_dream.search.conditions import Condition
from nni_dream.search.json_values import canonical_json
from nni_dream.search.roles import canonical_value

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = [
    "ActionKey",
    "PriorityAction",
    "PriorityRow",
    "PriorityTable",
    "PriorityTableError",
    "Provenance",
    "RankedAction",
    "action_key",
    "load_priority_table",
    "shipped_tables",
]

ActionKey: TypeAlias = tuple[str, str]

TABLES_PACKAGE: Final = "nni_dream.priority"  # the folder priority/, as it lies inside the wheel


def action_key(object_: str, value: Json) -> ActionKey:
    """Return what is equal for equal actions: the object, and the value as canonical JSON.

    ``true`` and the text ``"True"`` are one value: the options of a nested choice often have texts for names.
    """
    word = canonical_value(None, value)
    return object_, canonical_json(value if word is None else word)


class PriorityTableError(ValueError):
    """A priority table cannot be found, read or understood; the message names the file, the row and the rule."""


class _TableModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PriorityAction(_TableModel):
    """One action of a row: set ``object`` to ``value``."""

    object: str = Field(min_length=1)
    value: Json
    mean_gain: float | None = None  # mean change of the score that the action brought
    n: int | None = Field(default=None, ge=1)  # over so many models
    standard_deviation: float | None = Field(default=None, ge=0)  # of the change; None for a single model
    n_failures: int = Field(default=0, ge=0)  # of the n trainings; each counts as a fall to the worst seed model


class PriorityRow(_TableModel):
    """The actions of one condition, best first."""

    condition: str
    actions: tuple[PriorityAction, ...] = Field(min_length=1)

    @field_validator("condition")
    @classmethod
    def _is_a_condition(cls, text: str) -> str:
        Condition.parse(text)
        return text

    @model_validator(mode="after")
    def _ranks_every_action_once(self) -> PriorityRow:
        keys = [action_key(action.object, action.value) for action in self.actions]
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            raise ValueError(f"{self.condition}: action {repeated[0]}={repeated[1]} is there twice")
        n_gains = sum(action.mean_gain is not None for action in self.actions)
        if n_gains not in (0, len(self.actions)):
            raise ValueError(
                f"{self.condition}: {n_gains} of {len(self.actions)} actions have a mean_gain, expected all or none"
            )
        return self


class Provenance(_TableModel):
    """How a table was measured; after a merge the entries of all its parts."""

    data: tuple[str, ...] = Field(min_length=1)  # names of the data sets
    trial_commands: tuple[str, ...] = Field(min_length=1)  # epochs, batch size, scale, number of samples
    seeds: tuple[int, ...]  # of the seed models
    thresholds: dict[str, float]  # of the conditions
    n_models: int = Field(ge=1)  # seed models that have a condition
    n_trainings: int = Field(ge=1)  # of seed models and of changed ones
    n_failures: int = Field(ge=0)  # of these
    hours: float = Field(ge=0)  # of wall time in all trainings together
    versions: dict[str, str]  # of the packages that matter; after a merge "1.0, 1.1" where they differ
    date: str  # of the table, YYYY-MM-DD


class PriorityTable(_TableModel):
    """A whole table and where it comes from."""

    version: Literal[1]
    task: str
    source: str = Field(min_length=1)
    provenance: Provenance | None = None  # of a measured table
    rows: tuple[PriorityRow, ...] = Field(min_length=1)

    _ranked: dict[Condition, tuple[RankedAction, ...]] = PrivateAttr(default_factory=dict)  # of those asked for

    @model_validator(mode="after")
    def _has_every_condition_once(self) -> PriorityTable:
        conditions = [row.condition for row in self.rows]
        repeated = next((condition for condition in conditions if conditions.count(condition) > 1), None)
        if repeated is not None:
            raise ValueError(f"condition {repeated} has two rows, expected one")
        return self

    @model_validator(mode="after")
    def _measures_every_row_or_none(self) -> PriorityTable:
        n_measured = sum(row.actions[0].mean_gain is not None for row in self.rows)
        if n_measured not in (0, len(self.rows)):  # a gain and a rank cannot be averaged when backing off
            raise ValueError(f"{n_measured} of {len(self.rows)} rows have mean gains, expected all or none")
        return self

    def ranked_actions(self, condition: Condition) -> tuple[RankedAction, ...]:
        """Return every action of the table in the order in which this condition should try them.

        First the actions of the condition's own row; then those of ever coarser conditions (without W, then G, then
        C, then A), each action once.  The paper takes a random action where it has no row; backing off is ours.  What
        was measured to gain nothing comes last, in the same order: a row of few models knows few actions that help,
        and then a coarser row knows better ones.
        """
        if condition not in self._ranked:
            self._ranked[condition] = tuple(self._rank(condition))
        return self._ranked[condition]

    def _rank(self, condition: Condition) -> Iterable[RankedAction]:
        found: dict[ActionKey, tuple[PriorityAction, float, Condition]] = {}
        for level in condition.coarser():
            rows = [row for row in self.rows if level.covers(Condition.parse(row.condition))]
            for action, priority in _by_priority(rows):
                found.setdefault(action_key(action.object, action.value), (action, priority, level))
        useful_first = sorted(found.values(), key=lambda each: each[1] <= 0)
        for rank, (action, priority, level) in enumerate(useful_first, start=1):
            yield RankedAction(action.object, action.value, rank, priority, level)


@dataclass(frozen=True)
class RankedAction:
    """An action of the table and how it came to its rank."""

    object: str
    value: Json
    rank: int  # 1 is tried first
    priority: float  # mean gain of the score; in a table that only ranks, the mean of 1 / rank
    level: Condition  # the condition whose rows say so; coarser than the candidate's after backing off


def shipped_tables() -> list[str]:
    """Return the names of the tables that come with the package."""
    return sorted(
        path.name.removesuffix(".json") for path in _shipped_folder().iterdir() if path.name.endswith(".json")
    )


def load_priority_table(name_or_path: str) -> PriorityTable:
    """Read a shipped table by its name, or any table by its path.

    Raises:
        PriorityTableError: If there is no such table, or it breaks a rule.
    """
    shipped = shipped_tables()
    if name_or_path in shipped:
        text = _shipped_folder().joinpath(f"{name_or_path}.json").read_text(encoding="utf-8")
        return _parse_table(text, name_or_path)
    try:
        text = Path(name_or_path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PriorityTableError(
            f"priority table {name_or_path!r} is neither a shipped table ({', '.join(shipped)}) nor a readable file: "
            f"{error}; NNI runs the tuner in the experiment's log folder, so a path must be absolute"
        ) from error
    return _parse_table(text, name_or_path)


def _parse_table(text: str, origin: str) -> PriorityTable:
    try:
        return PriorityTable.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "table"
        raise PriorityTableError(f"priority table {origin}: {where}: {first['msg']}") from error


def _shipped_folder() -> Traversable:
    try:
        return files(TABLES_PACKAGE)
    except ModuleNotFoundError:  # used from a checkout through NNI's codeDirectory, without being installed
        return Path(__file__).parents[2] / "priority"


def _by_priority(rows: Iterable[PriorityRow]) -> list[tuple[PriorityAction, float]]:
    """The actions of all rows, each once with its priority, best first; ties keep the order of the rows.

    With measured gains the priority is their mean, weighted by n, over the rows that measured the action; with
    ranks alone it is the mean of 1 / rank over all rows, 0 where a row does not list the action.
    """
    rows = list(rows)
    actions: dict[ActionKey, PriorityAction] = {}
    totals: dict[ActionKey, float] = {}
    weights: dict[ActionKey, float] = {}
    for row in rows:
        for rank, action in enumerate(row.actions, start=1):
            key = action_key(action.object, action.value)
            actions.setdefault(key, action)
            weight = float(action.n or 1)
            value = 1 / rank if action.mean_gain is None else action.mean_gain * weight
            totals[key] = totals.get(key, 0.0) + value
            weights[key] = len(rows) if action.mean_gain is None else weights.get(key, 0.0) + weight
    priorities = {key: totals[key] / weights[key] for key in actions}
    order = sorted(actions, key=lambda key: -priorities[key])
    return [(actions[key], priorities[key]) for key in order]
