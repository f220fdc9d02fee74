"""What the scores of a search say about its numeric ranges: a Gaussian process over the configurations tried.

A priority table knows values, and so does :mod:`nni_dream.search.gains`: that 0.3 was bad says little there about
0.31, nor that to go down may help where to go up did not.  Here the score is taken to be smooth along a range,
whatever the range means, so that a search space without any known role can be searched too.

The covariance of two configurations is half the mean over the parameters of how alike their values are (effects that
add up), half the product (everything else).  See Rasmussen and Williams, *Gaussian Processes for Machine Learning*
(2006), algorithm 2.1 and section 5.4.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nni_dream.feedback import Json
from nni_dream.search.actions import Action
from nni_dream.search.estimates import Estimate
from nni_dream.search.json_values import canonical_json
from nni_dream.search.parameters import NORMAL_TYPES, Parameter, Range
from nni_dream.search.space import Configuration, SearchSpace

__all__ = ["ScoreSurface"]

# All ours; lengths are shares of a range.
LENGTHS: Final = (0.1, 0.25, 0.6)  # over which scores are alike; the likeliest is taken
NOISES: Final = (0.01, 0.1)  # variance of one score, as a share of that of all; the likeliest is taken
ALIKE_IF_DIFFERENT: Final = 0.5  # two options of a choice
N_BEST, N_LATEST = 32, 32  # trials that are remembered
WORST_SHOWN: Final = 3.0  # distances of the best from the median: what is farther below counts as that
SIGMAS_OF_A_RANGE: Final = 4.0  # a normal type's range in standard deviations
SMALLEST_UNIT: Final = 1e-6  # relative to the largest score
LARGEST_SCORE: Final = 1e150  # its square is finite

Numbers: TypeAlias = NDArray[np.float64]


class _Fit(NamedTuple):
    """The posterior, in the words of algorithm 2.1; scores are centred and in units of their standard deviation."""

    inputs: Numbers  # (n, parameters)
    unit: float
    length: float
    noise: float  # variance of one score
    cholesky: Numbers  # (n, n)
    weights: Numbers  # (n,)


class ScoreSurface:
    """Learns scores of configurations, and tells what a step on a range is expected to gain."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._columns = {parameter.place: column for column, parameter in enumerate(space.walk())}
        self._is_range = np.array([isinstance(parameter, Range) for parameter in space.walk()])
        self._codes: dict[tuple[int, str], float] = {}  # (column, option) -> number
        self._inputs: dict[int, Numbers] = {}  # trial -> its values
        self._scores: dict[int, float] = {}  # trial -> score, larger is better; minus infinity where it failed
        self._worst = math.inf  # of all scores
        self._fit: _Fit | None = None

    @property
    def is_informed(self) -> bool:
        """Whether it has seen anything: the space has ranges, and a score was entered."""
        return math.isfinite(self._worst)

    def learn(self, trial: int, configuration: Configuration, score: float | None) -> None:
        """Enter the score of a trial, larger is better; a later call for the same trial replaces the earlier one.

        A trial without a score counts as the worst that was ever entered, also by a later call: in which order trials
        end makes no difference.
        """
        entered = -math.inf if score is None else score
        if not self._is_range.any() or self._scores.get(trial) == entered:
            return
        if score is not None:
            self._worst = min(self._worst, score)
        self._inputs[trial] = self._input(configuration)
        self._scores[trial] = entered
        self._fit = None
        if len(self._scores) > N_BEST + N_LATEST:
            self._forget()

    def gains(self, candidate: Configuration, actions: Sequence[Action], unit: float = 0.0) -> list[Estimate]:
        """Return what actions are expected to gain, each on a parameter that the candidate has, in units of the score.

        Args:
            candidate: A configuration of a trial that was entered.
            unit: The size of gains, in units of the score.  Few scores, or equal ones, do not tell it: the surface is
                not taken to be flatter than that.
        """
        fit = self._fit = self._fit or self._fitted()
        before = self._input(candidate)
        after = np.tile(before, (len(actions), 1))  # (actions, parameters)
        for row, action in zip(after, actions, strict=True):
            column = self._columns[action.parameter.place]
            row[column] = self._number(action.parameter, column, action.value)
        both = np.vstack([after, before])
        projected = np.linalg.solve(fit.cholesky, self._covariance(fit.inputs, both, fit.length))
        means = projected.T @ fit.weights
        own = self._covariance(after, before[None], fit.length)[:, 0]
        variances = 2 * (1 - own) - ((projected[:, :-1] - projected[:, -1:]) ** 2).sum(axis=0)
        deviations = max(fit.unit, unit) * np.sqrt(np.maximum(variances, 0.0))
        return [
            Estimate(
                mean=fit.unit * float(mean - means[-1]),
                deviation=float(deviation),
                scatter=fit.unit * math.sqrt(fit.noise),
                n=len(fit.inputs),
            )
            for mean, deviation in zip(means[:-1], deviations, strict=True)
        ]

    def _fitted(self) -> _Fit:
        """The likeliest of all lengths and noises, given the scores."""
        trials = sorted(self._scores)
        inputs = np.array([self._inputs[trial] for trial in trials])
        scores = np.array([max(self._scores[trial], self._worst) for trial in trials])
        scores = _without_outliers(np.clip(scores, -LARGEST_SCORE, LARGEST_SCORE))
        unit = max(float(scores.std()), SMALLEST_UNIT * float(np.abs(scores).max())) or 1.0
        centred = (scores - scores.mean()) / unit
        fits = []
        for length in LENGTHS:
            covariance = self._covariance(inputs, inputs, length)
            for noise in NOISES:
                cholesky = np.asarray(np.linalg.cholesky(covariance + noise * np.eye(len(inputs))), dtype=np.float64)
                weights = np.linalg.solve(cholesky, centred)
                fits.append(_Fit(inputs, unit, length, noise, cholesky, weights))
        return max(fits, key=_log_likelihood)

    def _forget(self) -> None:
        """Leave the best trials and the latest: what a suggestion costs must not grow with the search."""
        latest = sorted(self._scores)[-N_LATEST:]
        best = sorted(self._scores, key=lambda trial: (-self._scores[trial], trial))[:N_BEST]
        for trial in self._scores.keys() - {*best, *latest}:
            del self._scores[trial], self._inputs[trial]

    def _input(self, configuration: Configuration) -> Numbers:
        """One number a parameter: the place in its range, the number of its option, NaN where it is not active."""
        row = np.full(len(self._columns), np.nan)
        for parameter, value in self._space.active_values(configuration):
            column = self._columns[parameter.place]
            row[column] = self._number(parameter, column, value)
        return row

    def _number(self, parameter: Parameter, column: int, value: Json) -> float:
        if isinstance(parameter, Range):
            return _position(parameter, value)
        return self._codes.setdefault((column, canonical_json(value)), float(len(self._codes)))

    def _covariance(self, ones: Numbers, others: Numbers, length: float) -> Numbers:
        """Of every two configurations, 1 where they are the same: (ones, others)."""
        distances = ones[:, None] - others[None]  # (ones, others, parameters); NaN where one of both is not active
        is_missing = np.isnan(distances)
        is_missing_in_both = is_missing & (np.isnan(ones)[:, None] == np.isnan(others)[None])
        near = np.where(is_missing, is_missing_in_both, np.exp(-0.5 * (distances / length) ** 2))
        equal = np.where(is_missing_in_both | (distances == 0), 1.0, ALIKE_IF_DIFFERENT)
        alike = np.where(self._is_range, near, equal)
        covariance: Numbers = 0.5 * alike.mean(axis=2) + 0.5 * alike.prod(axis=2)
        return covariance


def _log_likelihood(fit: _Fit) -> float:
    """Return the logarithm of the marginal likelihood, up to an additive constant."""
    return -0.5 * float(fit.weights @ fit.weights) - float(np.log(np.diag(fit.cholesky)).sum())


def _position(parameter: Range, value: Json) -> float:
    """The place of a value in its range: 0 at one end, 1 at the other; logarithmic where the type is."""
    assert isinstance(value, (int, float))
    is_log = "log" in parameter.type
    number = math.log(max(value, 1e-300)) if is_log else float(value)
    if parameter.type in NORMAL_TYPES:
        return (number - parameter.mu) / (SIGMAS_OF_A_RANGE * parameter.sigma)
    low, high = (math.log(end) if is_log else end for end in (parameter.low, parameter.high))
    return (number - low) / (high - low) if high > low else 0.0


def _without_outliers(scores: Numbers) -> Numbers:
    """The scores, none farther below the median than three times what the best is above it."""
    best, median = float(scores.max()), float(np.median(scores))
    spread = best - median
    return np.maximum(scores, median - WORST_SHOWN * spread) if spread > 0 else scores
