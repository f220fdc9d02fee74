"""Which configuration to try next when priorities learn: every way to go on, weighed by what it may improve.

The first share of the trials are new configurations: repairing a bad one step by step would take more trials than
drawing a better one, where something is known of what is good.  Then the ways are the actions on each of the best few
trials, so that a search whose best trial has nothing useful left goes on from the second best; and, on each of these,
pairs of actions that were tried on it one by one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nni_dream.config import Exploration
from nni_dream.feedback import Json, OptimizeMode
from nni_dream.search.actions import Action, PresentValues, all_actions, apply_action
from nni_dream.search.conditions import Condition, architecture_named
from nni_dream.search.estimates import Estimate
from nni_dream.search.evidence import Subject
from nni_dream.search.gains import GainModel
from nni_dream.search.inert import InertParameters
from nni_dream.search.json_values import canonical_json, same_value
from nni_dream.search.parameters import Parameter, Range
from nni_dream.search.roles import Role
from nni_dream.search.space import Configuration, SearchSpace
from nni_dream.search.suggestions import Candidate, Origin, Suggestion
from nni_dream.search.surface import ScoreSurface
from nni_dream.search.table_words import TableWords

__all__ = ["LearningPolicy"]

# Of the actions that were tried on a candidate those with the best results; pairs of them are ways to go on.
N_TO_COMBINE: Final = 6
DRAWN_SHARE: Final = 0.3  # of the planned trials: new configurations, before the best are repaired
MAX_DRAWN: Final = 10  # trials after which none is drawn any more, however many are planned: draws teach little
N_DRAWS: Final = 20  # for a new configuration that is not known yet
N_REMEMBERED: Final = 16  # candidates whose actions are kept
CONFIDENCE: Final = 2.0  # standard deviations above the mean, in `upper_confidence`, with all trials left

Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class _RatedAction:
    """One action on a candidate, and what it is expected to gain there."""

    action: Action
    estimate: Estimate


@dataclass(frozen=True)
class _Way:
    """One way to go on: one action on a candidate, or two."""

    candidate: Candidate
    actions: tuple[Action, ...]
    estimate: Estimate
    deficit: float  # by how much the candidate is worse than the best, 0 or more

    @property
    def key(self) -> str:
        return " + ".join(action.key for action in self.actions)

    @property
    def text(self) -> str:
        return " + ".join(map(str, self.actions))


class LearningPolicy:
    """Suggests the way to go on that promises most; learns from the outcome of every trial.

    Args:
        space: Where all configurations lie.
        model: What gains are expected at the start.
        mode: Whether a larger or a smaller score is better.
        exploration: How uncertain gains are weighed.
    """

    def __init__(self, space: SearchSpace, model: GainModel, mode: OptimizeMode, exploration: Exploration) -> None:
        self.space = space
        self.model = model
        self._words = TableWords(space, model.table)
        self._sign = 1.0 if mode == "maximize" else -1.0
        self._exploration: Exploration = exploration
        self._scores: dict[int, float] = {}  # trial -> score
        self._failed: dict[int, Origin] = {}  # actions that brought no score, each a fall to the worst of all
        self._worst = math.inf  # of all scores, larger is better
        self._surface = ScoreSurface(space)
        self._inert = InertParameters(space)
        self.copies: set[int] = set()  # trials whose training was that of their candidate: the same model again
        self._results: dict[int, dict[str, float]] = {}  # candidate -> key of an action that it was given -> its gain
        self._spent: dict[int, set[str]] = {}  # candidate -> keys of ways that lead to what was suggested before
        self._actions: dict[tuple[int, Condition], list[tuple[Action, Subject, Subject | None]]] = {}

    def learn(
        self,
        trial: int,
        origin: Origin,
        score: float | None,
        *,
        has_ended: bool,
        configuration: Configuration | None = None,
        unchanged_from: Configuration | None = None,
    ) -> None:
        """Enter what is known of a trial now; may be called again when more is known.

        A trial that ended without a score counts as a fall to the worst of all, also of those that come later.

        Args:
            configuration: What the trial had; without it nothing is learned about ranges.
            unchanged_from: What its candidate had, if the two were trained in exactly the same way: then the action did
                nothing there, which tells nothing of its value elsewhere.
        """
        if score is not None:
            self._enter_score(trial, score)
        if configuration is not None and has_ended:
            self._surface.learn(trial, configuration, None if score is None else self._sign * score)
        if configuration is not None and unchanged_from is not None:
            self._inert.learn(unchanged_from, configuration)
            self.copies.add(trial)
            return
        if has_ended:
            self._enter_gain(trial, origin, score)

    def _enter_score(self, trial: int, score: float) -> None:
        self._scores[trial] = score
        self._failed.pop(trial, None)
        if self._sign * score < self._worst:
            self._worst = self._sign * score
            self._enter_fallen()

    def _enter_gain(self, trial: int, origin: Origin, score: float | None) -> None:
        score_before = None if origin.candidate is None else self._scores.get(origin.candidate)
        subject = _subject_of_origin(origin)
        if subject is None or origin.candidate is None or score_before is None:
            return
        if score is None:
            self._failed[trial] = origin
        gain = (self._worst if score is None else self._sign * score) - self._sign * score_before
        before = None if origin.before is None else Subject.of(subject.condition, subject.object, origin.before)
        self.model.learn(trial, subject, before, gain)
        self._results.setdefault(origin.candidate, {})[str(origin.key)] = gain

    def _enter_fallen(self) -> None:
        """Those that failed have fallen further, to a score that is worse than the worst before."""
        gains = {}
        for trial, origin in self._failed.items():
            assert origin.candidate is not None  # its gain was entered
            gains[trial] = self._worst - self._sign * self._scores[origin.candidate]
            self._results[origin.candidate][str(origin.key)] = gains[trial]
        self.model.correct(gains)

    def suggest(
        self,
        candidates: Sequence[Candidate],
        *,
        applied: Mapping[int, Collection[str]],
        known: Mapping[str, str],
        share_left: float,
        rng: Generator,
    ) -> Suggestion | None:
        """Return the best way to go on that leads to a new configuration, or ``None`` if there is none.

        Args:
            candidates: The best trials, best first, without copies; none as long as no trial has a score.
            applied: candidate's trial number -> keys of what it was already given.
            known: identity (canonical JSON) -> "tried" or "running", of every configuration suggested so far.
            share_left: Of the planned trials, 0..1; exploration fades with it.
        """
        if not candidates or (1 - share_left < DRAWN_SHARE and len(known) < MAX_DRAWN):
            drawn = self._draw(known, rng)
            if drawn is not None:
                return drawn
        self.model.guess_size(self._scores.values())
        ways = [
            way
            for candidate in candidates
            for way in self._ways(candidate, candidates[0], applied.get(candidate.number, ()))
        ]
        for index in np.argsort(-self._acquisition_values(ways, share_left, rng), kind="stable"):
            way = ways[index]
            spent = self._spent.setdefault(way.candidate.number, set())
            if way.key in spent:
                continue
            fill = self._fill(way.candidate.condition, rng)
            configuration = self._apply(way, fill)
            if configuration is not None and canonical_json(configuration) not in known:
                return Suggestion(configuration, self._origin(way))
            if not fill.was_asked:  # it will lead there again
                spent.add(way.key)
        return None

    def _draw(self, known: Mapping[str, str], rng: Generator) -> Suggestion | None:
        """A new configuration, each value drawn by how probably it is the best."""
        for _ in range(N_DRAWS):
            configuration = self.space.build(self._fill(Condition(), rng))
            if canonical_json(configuration) not in known:
                return Suggestion(configuration, Origin("drawn", "every value by how probably it is the best"))
        return None

    def _ways(self, candidate: Candidate, best: Candidate, applied: Collection[str]) -> Iterator[_Way]:
        """Every way to go on from a candidate that it was not given yet."""
        deficit = self._sign * (best.score - candidate.score)
        rated = self._rated_actions(candidate)
        pairs = _pairs(rated, self._results.get(candidate.number, {}))
        for way in (*((each,) for each in rated), *pairs):
            estimate = way[0].estimate if len(way) == 1 else Estimate.of_all([each.estimate for each in way])
            found = _Way(candidate, tuple(each.action for each in way), estimate, deficit)
            if found.key not in applied:
                yield found

    def _rated_actions(self, candidate: Candidate) -> list[_RatedAction]:
        """Every action with its expected gain: by its value, and on a range by its position too.

        What does nothing on this candidate is left out.
        """
        every = self._actions_on(candidate)
        relevances = self._inert.relevances(candidate.configuration, [action for action, _, _ in every])
        actions = [each for each in zip(every, relevances, strict=True) if each[1] > 0]
        smooth = [
            action for (action, _, before), _ in actions if isinstance(action.parameter, Range) and before is not None
        ]
        by_position = {}
        if smooth and self._surface.is_informed:
            gains = self._surface.gains(candidate.configuration, smooth, self.model.unit)
            by_position = {action.key: gain for action, gain in zip(smooth, gains, strict=True)}
        rated = []
        for (action, subject, before), relevance in actions:
            estimate = self._estimate(subject, before, by_position.get(action.key))
            rated.append(_RatedAction(action, estimate if relevance == 1 else estimate.if_relevant(relevance)))
        return rated

    def _estimate(self, subject: Subject, before: Subject | None, by_position: Estimate | None) -> Estimate:
        """What values say of an action, the positions on its range, or both: values only where a table has some."""
        if by_position is not None and not self.model.is_in_table(subject.object):
            return by_position
        by_value = self.model.estimate(subject, before)
        return by_value if by_position is None else by_value.averaged_with(by_position)

    def _acquisition_values(self, ways: Sequence[_Way], share_left: float, rng: Generator) -> Numbers:
        """How much better than the best each way promises to be, by the rule of exploration."""
        means = np.array([way.estimate.mean - way.deficit for way in ways])
        deviations = np.array([way.estimate.deviation for way in ways]) * math.sqrt(share_left)
        if self._exploration == "thompson":
            return rng.normal(means, deviations)
        if self._exploration == "upper_confidence":
            return means + CONFIDENCE * deviations
        spreads = np.hypot(deviations, [way.estimate.scatter for way in ways])
        return np.array(list(map(_expected_improvement, means, spreads)))

    def _actions_on(self, candidate: Candidate) -> list[tuple[Action, Subject, Subject | None]]:
        """Every action that means something, what estimates know it as, and what they know the present value as."""
        key = candidate.number, candidate.condition
        known = self._actions.get(key)
        if known is None:
            if len(self._actions) >= N_REMEMBERED:
                self._actions.pop(next(iter(self._actions)))
            known = self._actions[key] = _meaningful_actions(candidate, self.space, self._words)
        return known

    def _fill(self, condition: Condition, rng: Generator) -> _Fill:
        return _Fill(self.model, self._words, condition, rng)

    def _apply(self, way: _Way, fill: _Fill) -> Configuration | None:
        """The configuration after all actions of a way; ``None`` if one of them undoes another."""
        configuration = way.candidate.configuration
        for action in way.actions:
            configuration = apply_action(action, configuration, self.space, fill)
        if len(way.actions) > 1:
            values = {parameter.place: value for parameter, value in self.space.active_values(configuration)}
            for action in way.actions:
                place = action.parameter.place
                if place not in values or not same_value(values[place], action.value):
                    return None
        return configuration

    def _origin(self, way: _Way) -> Origin:
        subject, before = None, None
        if len(way.actions) == 1:
            of = {action.key: (subject, before) for action, subject, before in self._actions_on(way.candidate)}
            subject, before = of[way.key]
        return replace(
            Origin.of_action(way.candidate, way.text, way.key, subject, before),
            estimate=way.estimate.mean,
            interval=way.estimate.interval,
            n=way.estimate.n,
        )


class _Fill:
    """Chooses values of newly active parameters: each is drawn by how probably it is the best.

    Args:
        condition: Of the model that is changed; of a new one only the architecture gets known, once it is chosen.
    """

    def __init__(self, model: GainModel, words: TableWords, condition: Condition, rng: Generator) -> None:
        self._model = model
        self._words = words
        self._condition = condition
        self._rng = rng
        self.was_asked = False

    def __call__(self, parameter: Parameter) -> Json:
        self.was_asked = True
        is_known = self._model.knows(self._words.object(parameter))
        chosen = self._draw(parameter) if is_known else parameter.sample(self._rng)
        if parameter.role is Role.ARCHITECTURE and self._condition.architecture is None:
            self._condition = Condition(architecture=architecture_named(chosen))
        return chosen

    def _draw(self, parameter: Parameter) -> Json:
        values = [*parameter.action_values(), *self._words.numbers(parameter)]
        draws = []
        for value in values:
            estimate = self._model.estimate(self._words.subject(parameter, value, self._condition), None)
            draws.append(self._rng.normal(estimate.mean, estimate.deviation))
        return values[draws.index(max(draws))]


def _subject_of_origin(origin: Origin) -> Subject | None:
    """The subject of the action that made a trial; ``None`` if it was not one single action."""
    if origin.kind != "action" or origin.condition is None or origin.object is None:
        return None
    return Subject.of(Condition.parse(origin.condition), origin.object, origin.value)


def _meaningful_actions(
    candidate: Candidate, space: SearchSpace, words: TableWords
) -> list[tuple[Action, Subject, Subject | None]]:
    """Every action that changes something and needs no other architecture; to a table's values on ranges, too."""
    present = PresentValues(candidate.configuration, space)
    found: dict[str, tuple[Action, Subject, Subject | None]] = {}
    told = (Action(parameter, value) for parameter in space.walk() for value in words.numbers(parameter))
    for action in (*all_actions(space, candidate.configuration), *told):
        if present.why_pointless(action) is not None:
            continue
        subject = words.subject(action.parameter, action.value, candidate.condition)
        before = words.subject_before(action, present, candidate.condition)
        found.setdefault(action.key, (action, subject, before))
    return list(found.values())


def _pairs(rated: Sequence[_RatedAction], results: Mapping[str, float]) -> Iterator[tuple[_RatedAction, _RatedAction]]:
    """Two at once, of the actions that were tried one by one: none of them improved the candidate, both may."""
    tried = sorted((each for each in rated if each.action.key in results), key=lambda each: -results[each.action.key])
    for one, other in combinations(tried[:N_TO_COMBINE], 2):
        if one.action.parameter.path != other.action.parameter.path:
            yield one, other


def _expected_improvement(mean: float, deviation: float) -> float:
    """The mean of what lies above zero of a normal distribution."""
    if deviation <= 0:
        return max(0.0, mean)
    z = mean / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return mean * 0.5 * math.erfc(-z / math.sqrt(2)) + deviation * density
