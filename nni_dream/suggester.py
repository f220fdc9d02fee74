"""What to try next, by all that is known: the given configurations, then what the strategy suggests (Algorithm 1)."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from nni_dream.config import TunerSettings
from nni_dream.feedback import is_same_training
from nni_dream.search.actions import apply_partial
from nni_dream.search.conditions import diagnose
from nni_dream.search.gains import GainModel
from nni_dream.search.json_values import canonical_json
from nni_dream.search.learning import LearningPolicy
from nni_dream.search.policy import suggest_repair, suggest_unseen
from nni_dream.search.priorities import PriorityTable
from nni_dream.search.space import Configuration, SearchSpace, SearchSpaceError
from nni_dream.search.suggestions import Candidate, Origin, Suggestion
from nni_dream.search.table_words import TableWords
from nni_dream.trials import TrialBook, TrialRecord, TrialStatus

__all__ = ["Suggester"]

EXPLORATION_HALF_LIFE: Final = 25  # trials, where no plan is known: the will to explore is half of what it was
N_CANDIDATES: Final = 3  # the best trials that actions may start from (DREAM section 7: beam); `static` has one
N_COPIES: Final = 16  # among the best trials that are passed over: the same model again, no other start for actions

_logger = logging.getLogger(__name__)


class Suggester:
    """Suggests configurations of a space, which may be replaced in mid-run.

    Args:
        book: What is known of every trial.
        seed: Of every draw.
    """

    def __init__(self, book: TrialBook, settings: TunerSettings, table: PriorityTable, seed: int) -> None:
        self.seed = seed
        self.space: SearchSpace | None = None
        self.n_planned = settings.planned_trials  # trials; None: no plan is known
        self.applied: dict[int, set[str]] = {}  # candidate's trial number -> keys of the actions it was given
        self._book = book
        self._settings = settings
        self._table = table
        self._words: TableWords  # of this space; with it
        self._initial: list[Configuration] = []  # still to be suggested
        self._learning: LearningPolicy | None = None
        self._revision = 0  # of the book, as far as the priorities have learned of it

    def take_space(self, space: SearchSpace) -> None:
        """Search this space from here on; the first one gets the given seed configurations.

        Raises:
            SearchSpaceError: If a seed configuration does not lie in the first space of a new search.
        """
        if self.space is None:
            self._initial = self._initial_configurations(space)
        self.space, self._words = space, TableWords(space, self._table)
        if self._settings.strategy == "learning":  # anew: what this search has shown is entered before it suggests
            mode = self._settings.optimize_mode
            model = GainModel(self._table, compares_in_size=mode == "maximize")  # tables are of accuracies
            self._learning = LearningPolicy(space, model, mode, self._settings.exploration)
            self._revision = 0

    def next(self) -> Suggestion | None:
        """Return what to try next, or ``None`` if every configuration of the space was tried."""
        space = self.space
        assert space is not None  # it was taken before
        try:
            return self._next(space)
        except Exception:  # whatever the method trips over, a random configuration keeps the search alive
            _logger.exception("no repair could be suggested")
            known = self._book.known
            rng = np.random.default_rng([self.seed, len(known)])
            return suggest_unseen(space, known, rng, "the policy failed, see the log")

    def _next(self, space: SearchSpace) -> Suggestion | None:
        known = self._book.known
        # One generator a suggestion: what is drawn depends on the seed and the place, not on what was drawn before.
        rng = np.random.default_rng([self.seed, len(known)])
        while self._initial:
            configuration = self._initial.pop(0)
            if not space.contains(configuration):
                _logger.warning("initial parameters left out, the search space has changed: %s", configuration)
            elif canonical_json(configuration) not in known:
                return Suggestion(configuration, Origin("initial", "given as initial_parameters"))
        if self._learning is not None:
            self._learn(self._learning)
        candidates = self._candidates()
        suggestion = self._suggest_repair(space, candidates, rng)
        if suggestion is None:
            every = f"every action on trial {candidates[0].number} was taken" if candidates else ""
            return suggest_unseen(space, known, rng, every or "no trial has a score yet")
        if suggestion.origin.candidate is not None:
            self.applied.setdefault(suggestion.origin.candidate, set()).add(str(suggestion.origin.key))
        return suggestion

    def _initial_configurations(self, space: SearchSpace) -> list[Configuration]:
        """The given seed configurations, completed.

        In a resumed search those that no longer fit are left out: the space may have been changed in mid-run.
        """
        initial = []
        for given in self._settings.initial_parameters:
            try:
                initial.append(self._complete(given, space))
            except SearchSpaceError as error:
                if not self._book.n_records:
                    raise
                _logger.warning("initial parameters left out: %s", error)
        return initial

    def _suggest_repair(
        self, space: SearchSpace, candidates: list[Candidate], rng: np.random.Generator
    ) -> Suggestion | None:
        known, strategy = self._book.known, self._settings.strategy
        if self._learning is not None:
            return self._learning.suggest(
                candidates, applied=self.applied, known=known, share_left=self._share_left(len(known)), rng=rng
            )
        first = len(known) % len(candidates) if strategy == "beam" and candidates else 0
        for candidate in candidates[first:] + candidates[:first]:
            applied = self.applied.get(candidate.number, set())
            repair = suggest_repair(
                candidate,
                space,
                self._table,
                words=self._words,
                strategy=strategy,
                applied=applied,
                known=known,
                rng=rng,
            )
            if repair is not None:
                return repair
        return None

    def _learn(self, learning: LearningPolicy) -> None:
        changed, self._revision = self._book.changes_since(self._revision)
        for record in sorted(changed, key=lambda record: record.number):  # a candidate's score before its actions'
            has_ended = record.status is not TrialStatus.RUNNING
            learning.learn(
                record.number,
                record.origin,
                record.score if has_ended else None,
                has_ended=has_ended,
                configuration=record.configuration,
                unchanged_from=self._unchanged_from(record),
            )

    def _unchanged_from(self, record: TrialRecord) -> Configuration | None:
        """The candidate's configuration, where the action on it made no difference to the training."""
        before = None if record.origin.candidate is None else self._book.numbered(record.origin.candidate)
        if before is None or record.score is None or record.score != before.score:
            return None
        after = self._book.numbered(record.number)  # with its feedback
        is_same = after is not None and is_same_training(before.feedback, after.feedback)
        return before.configuration if is_same else None

    def _share_left(self, n_trials: int) -> float:
        """Share of the planned trials that are left, 0..1; where no plan is known it halves with every 25 trials."""
        if self.n_planned is None:
            return float(0.5 ** (n_trials / EXPLORATION_HALF_LIFE))
        return max(0.0, 1 - n_trials / self.n_planned)

    def _candidates(self) -> list[Candidate]:
        """The trials that actions may start from, best first: one, or as many as the strategy follows."""
        settings = self._settings
        n_wanted = N_CANDIDATES if settings.strategy in ("learning", "beam") else 1
        copies = set() if self._learning is None else self._learning.copies
        found: list[Candidate] = []
        for best in self._book.best_trials(n_wanted + min(len(copies), N_COPIES)):
            if best.score is not None and best.number not in copies and len(found) < n_wanted:
                condition = diagnose(
                    best.feedback, best.configuration, settings.optimize_mode, settings.thresholds, settings.roles
                )
                found.append(Candidate(best.number, best.configuration, condition, best.score))
        return found

    def _complete(self, given: Configuration, space: SearchSpace) -> Configuration:
        """A given seed configuration, its missing parameters drawn; what it states must lie in the space."""
        rng = np.random.default_rng([self.seed, len(given)])
        return apply_partial(given, space, lambda parameter: parameter.sample(rng))
