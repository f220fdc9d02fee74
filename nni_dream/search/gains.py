"""How much an action is expected to gain in a condition: a Bayesian estimate that learns during the search.

The paper's P(action | A,C,G,W) is a mean that was measured once (its section 4.2.3); its section 7 asks for one that
learns.  Here every gain that was seen, in a table or in this search, is evidence for actions like it
(:mod:`nni_dream.search.evidence`).

What is estimated is the effect of a value on the score, and an action's gain is the difference between two: to set the
learning rate to 0.01 gains much where it was 1e-5 and nothing where it was right.  A table does not tell which value a
model had; the models had an object's other values about evenly, which leaves a share of 1 - 1/(number of values).

A loss may explode to a number beside which all other gains are nothing, and stay finite: what is far larger than gains
usually are here counts as the largest that is taken seriously.

The table was measured on random models of other data, a search repairs the best model of its own: a gain of this search
counts for more, and by how much gains differ here on average is learned as one offset.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from statistics import median
from typing import Final, NamedTuple

from nni_dream.search.conditions import Condition
from nni_dream.search.estimates import Estimate
from nni_dream.search.evidence import Evidence, Key, Subject, believe
from nni_dream.search.priorities import PriorityAction, PriorityTable

__all__ = ["GainModel"]

SEARCH_WEIGHT: Final = 3.0  # of a gain of this search; one of a table has 1
N_OWN_SCATTER: Final = 8.0  # gains of an object after which its own scatter counts as much as that of all gains
N_OWN_UNIT: Final = 8  # gains of this search after which their size counts as much as the table's, or as the first
UNIT_DRIFT: Final = 1.2  # of the unit or the limit, before everything is entered anew
N_OFFSET: Final = 4.0  # gains of this search after which half of their mean distance to the table is believed
LARGEST_GAIN: Final = 1e150  # its square is finite; a loss that exploded may be larger
LARGEST_IN_MEDIANS: Final = 20.0  # of the sizes of gains: what is larger counts as this
UNIT_BEFORE_SCORES: Final = 0.05  # of the score: the size of gains as long as nothing tells it
SHARE_OF_SPREAD: Final = 0.1  # of the median distance of scores from their median: the same, before any gain


class GainModel:
    """Expected gains, from a priority table and from this search.

    Args:
        table: ``None`` knows nothing.  A table that only ranks says little: rank r is one gain of 1/r.
        compares_in_size: Whether this search's score is of the kind that the table was measured with, so that gains
            are as large here as there; else their size is learned.
    """

    def __init__(self, table: PriorityTable | None, *, compares_in_size: bool = True) -> None:
        self.table = table
        cells = [] if table is None else list(_cells(table))
        size = _root_mean_square(cells)
        is_measured = any(cell.is_measured for cell in cells)
        self._table_unit = size if is_measured and compares_in_size else None
        self._table_evidence = Evidence()
        n_values = Counter(
            cell_object for cell_object, _ in {(cell.subject.object, cell.subject.value) for cell in cells}
        )
        for cell in cells:
            # The models that an action changed had the object's other values, about evenly.
            share = 1.0 if n_values[cell.subject.object] == 1 else 1 - 1 / n_values[cell.subject.object]
            self._table_evidence.add(cell.subject, cell.n, share * cell.gain / size, cell.square / size**2)
        for cell in () if is_measured else cells:  # what a ranking leaves out was not found useful
            self._table_evidence.add_unlisted(cell.subject.object)
        self._n_in_table = {cell.subject: cell.n_models for cell in cells}
        self._table_effects: dict[Subject, float] = {}  # the effect that the table alone expects; it never changes
        self._seen: dict[int, _Gain] = {}  # trial -> what it showed
        self._sizes: list[float] = []  # of these gains, rising
        self._guess = UNIT_BEFORE_SCORES
        self._limit = math.inf
        self._squares = 0.0  # sum of the squares of these gains, limited
        self._begin(self.unit)

    @property
    def unit(self) -> float:
        """The size of gains here, in units of the score: the root of their mean square.

        What the table says counts as eight gains.  Where it says nothing, the first eight gains count twice: the better
        the best, the smaller are the gains, and with a size that followed them down exploration would end.
        """
        prior = self._table_unit or self._size_of_the_first() or self._guess
        return math.sqrt((N_OWN_UNIT * prior**2 + self._squares) / (N_OWN_UNIT + len(self._seen)))

    def _size_of_the_first(self) -> float:
        first = [self._limited(gain) for gain in self._first_gains()]
        return math.sqrt(sum(gain**2 for gain in first) / len(first)) if first else 0.0

    def _first_gains(self) -> Iterator[float]:
        return (seen.gain for seen in islice(self._seen.values(), N_OWN_UNIT))

    def guess_size(self, scores: Collection[float]) -> None:
        """Guess from the spread of scores how large gains may be, where neither a table nor a gain tells it yet."""
        if self._table_unit is not None or self._seen or not scores:
            return
        middle = median(scores)
        self._guess = SHARE_OF_SPREAD * median(abs(score - middle) for score in scores) or UNIT_BEFORE_SCORES
        self._begin(self.unit)

    def learn(self, trial: int, subject: Subject, before: Subject | None, gain: float) -> None:
        """Enter what an action brought in a trial; a later call for the same trial replaces the earlier one.

        Args:
            subject: The action, in the candidate's condition.
            before: The value that the action changed, in the same condition; ``None`` if there was none.
            gain: Change of the score, larger is better.
        """
        gain = min(max(gain, -LARGEST_GAIN), LARGEST_GAIN)
        seen = _Gain(subject, before, gain)
        known = self._seen.get(trial)
        if known == seen:
            return
        self._keep(trial, seen)
        limit = self._limit_of_sizes()
        has_outliers = self._sizes[-1] > min(limit, self._limit)
        if known is not None or (has_outliers and not _is_near(limit, self._limit)):
            self._enter_anew(limit)
            return
        self._squares += self._limited(gain) ** 2
        if _is_near(self.unit, self._unit):
            self._enter(seen)
        else:
            self._enter_anew(limit)

    def correct(self, gains: Mapping[int, float]) -> None:
        """Replace the gains of trials that were entered, of all of them at once: each by itself enters everything anew.

        Args:
            gains: trial -> change of the score, larger is better.
        """
        for trial, gain in gains.items():
            self._keep(trial, self._seen[trial]._replace(gain=min(max(gain, -LARGEST_GAIN), LARGEST_GAIN)))
        if gains:
            self._enter_anew(self._limit_of_sizes())

    def _keep(self, trial: int, seen: _Gain) -> None:
        known = self._seen.get(trial)
        if known is not None:
            del self._sizes[bisect_left(self._sizes, abs(known.gain))]
        self._seen[trial] = seen
        insort(self._sizes, abs(seen.gain))

    def _limit_of_sizes(self) -> float:
        """The largest gain that is taken seriously beside these."""
        usual = self._table_unit or _median_above_zero(sorted(map(abs, self._first_gains()))) or self._guess
        return LARGEST_IN_MEDIANS * max(usual, _median_above_zero(self._sizes))

    def _enter_anew(self, limit: float) -> None:
        self._limit = limit
        self._squares = sum(self._limited(seen.gain) ** 2 for seen in self._seen.values())
        self._begin(self.unit)
        for seen in self._seen.values():
            self._enter(seen)

    def _limited(self, gain: float) -> float:
        return min(max(gain, -self._limit), self._limit)

    def knows(self, object_: str) -> bool:
        """Whether anything was ever seen of an object's actions."""
        key = (object_,)
        return self._table_evidence.of(key).n > 0 or self._search_evidence.of(key).n > 0

    def is_in_table(self, object_: str) -> bool:
        """Whether the table says anything of an object's actions."""
        return self._table_evidence.of((object_,)).n > 0

    def estimate(self, subject: Subject, before: Subject | None) -> Estimate:
        """Return what is believed of an action in a condition, on a model that has the value ``before``."""
        mean, variance = self._effect(subject)
        if before is not None:
            mean_before, variance_before = self._effect(before)
            mean, variance = mean - mean_before, variance + variance_before
        return Estimate(
            mean=self._unit * (mean + self._offset),
            deviation=self._unit * math.sqrt(variance),
            scatter=self._unit * self._scatter(subject.object),
            n=self._n_in_table.get(subject, 0) + self._n_seen.get(subject.chain[-1], 0),
        )

    def _begin(self, unit: float) -> None:
        self._unit = unit
        self._search_evidence = Evidence()  # effects, in this unit
        self._n_entered = 0  # gains of this search
        self._n_seen: dict[Key, int] = {}  # of these, those of the action in the condition
        self._effects: dict[Subject, tuple[float, float]] = {}  # what they are believed to be, until more is learned
        self._scatters: dict[str, float] = {}  # of objects, until more is learned
        self._surprise = 0.0  # sum of what gains were beyond what the table expected

    @property
    def _offset(self) -> float:
        """By how much gains differ here from the table's, whatever the action: the best model is hard to improve."""
        return self._surprise / (N_OFFSET + self._n_entered)

    def _enter(self, seen: _Gain) -> None:
        """A gain tells the effect of the new value where that of the old one is known, and the other way round."""
        gain = self._limited(seen.gain) / self._unit
        expected = self._expected_by_table(seen.subject)
        if seen.before is not None:
            expected -= self._expected_by_table(seen.before)
        self._surprise += gain - expected
        self._n_entered += 1
        own = seen.subject.chain[-1]
        self._n_seen[own] = self._n_seen.get(own, 0) + 1
        change = gain - self._offset
        new, old = self._effect(seen.subject)[0], 0.0 if seen.before is None else self._effect(seen.before)[0]
        self._effects.clear()
        self._scatters.clear()
        self._search_evidence.add(seen.subject, 1.0, old + change, (old + change) ** 2)
        if seen.before is not None:
            self._search_evidence.add(seen.before, 1.0, new - change, (new - change) ** 2)

    def _effect(self, subject: Subject) -> tuple[float, float]:
        """Mean and variance of what is believed of a value's effect on the score, in units."""
        known = self._effects.get(subject)
        if known is not None:
            return known

        def evidence(key: Key) -> tuple[float, float]:
            told, seen = self._table_evidence.of(key), self._search_evidence.of(key)
            return told.n + SEARCH_WEIGHT * seen.n, told.total + SEARCH_WEIGHT * seen.total

        known = self._effects[subject] = believe(subject, evidence)
        return known

    def _expected_by_table(self, subject: Subject) -> float:
        known = self._table_effects.get(subject)
        if known is None:

            def evidence(key: Key) -> tuple[float, float]:
                told = self._table_evidence.of(key)
                return told.n, told.total

            known = self._table_effects[subject] = believe(subject, evidence)[0]
        return known

    def _scatter(self, object_: str) -> float:
        """How far a gain of an object's actions is from what is expected, in units: its own, drawn towards 1."""
        known = self._scatters.get(object_)
        if known is None:
            told, seen = self._table_evidence.of((object_,)), self._search_evidence.of((object_,))
            squares = told.squared_distances + seen.squared_distances
            known = math.sqrt((N_OWN_SCATTER + squares) / (N_OWN_SCATTER + told.n + seen.n))
            self._scatters[object_] = known
        return known


class _Gain(NamedTuple):
    """What one trial showed."""

    subject: Subject
    before: Subject | None
    gain: float  # in units of the score


class _Cell(NamedTuple):
    """A line of a table."""

    subject: Subject
    n_models: int
    n: float  # models that it is worth; fewer where gains scattered more than usual
    gain: float
    square: float  # mean of the squared gains
    is_measured: bool


def _median_above_zero(sizes: Sequence[float]) -> float:
    """The lower median of rising sizes without those that are 0; 0 if all are."""
    first = bisect_right(sizes, 0.0)
    return sizes[(first + len(sizes) - 1) // 2] if first < len(sizes) else 0.0


def _is_near(one: float, other: float) -> bool:
    return other / UNIT_DRIFT < one < other * UNIT_DRIFT


def _cells(table: PriorityTable) -> Iterator[_Cell]:
    usual = _usual_variance(table)
    for row in table.rows:
        condition = Condition.parse(row.condition)
        for rank, action in enumerate(row.actions, start=1):
            subject = Subject.of(condition, action.object, action.value)
            if action.mean_gain is None:
                yield _Cell(subject, 0, 1.0, 1 / rank, 1 / rank**2, is_measured=False)
                continue
            n = action.n or 1
            own = (action.standard_deviation or 0.0) ** 2
            variance = (N_OWN_SCATTER * usual + (n - 1) * own) / (N_OWN_SCATTER + n - 1)
            worth = n * usual / variance if variance > 0 else n
            yield _Cell(subject, n, worth, action.mean_gain, action.mean_gain**2 + own * (n - 1) / n, is_measured=True)


def _usual_variance(table: PriorityTable) -> float:
    """The pooled variance of the gains of the same action in the same condition."""
    actions: list[PriorityAction] = [action for row in table.rows for action in row.actions]
    repeated = [
        (action.n - 1, action.standard_deviation) for action in actions if action.n and action.standard_deviation
    ]
    n = sum(n for n, _ in repeated)
    return sum(n * deviation**2 for n, deviation in repeated) / n if n else 0.0


def _root_mean_square(cells: list[_Cell]) -> float:
    n = sum(cell.n for cell in cells)
    size = math.sqrt(sum(cell.n * cell.square for cell in cells) / n) if n else 0.0
    return size or 1.0
