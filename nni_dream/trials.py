"""What is known of every trial: one book and one lock, shared by the tuner and the assessor.

NNI calls the tuner and the assessor on two threads, in no fixed order, and its parameter ids can name another trial
than the one that ran (docs/nni_facts.md, I1 to I3).  The book therefore joins by what the trial itself says: its
parameters inside the metric, the trial job id, and only then NNI's parameter id.
"""

from __future__ import annotations

import math
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from nni_dream.config import SettingsError
from nni_dream.feedback import (
    EpochFeedback,
    FeedbackError,
    Json,
    OptimizeMode,
    TrialFeedback,
    best_score,
    final_score,
    parse_metric,
    reported_value,
    score_of,
)
from nni_dream.journal import Journal
from nni_dream.malformed import MalformedMessages
from nni_dream.records import NO_FEEDBACK, RecordStore, TrialRecord, TrialStatus
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import Configuration
from nni_dream.search.stopping import CANCELLED, StopReason
from nni_dream.search.suggestions import Origin

__all__ = ["KnownConfigurations", "TrialBook", "TrialRecord", "TrialStatus", "shared_book", "told_parameters"]

FOREIGN: Final = Origin("foreign", "not suggested by this tuner")
EXCERPT_LENGTH: Final = 80  # characters of a malformed metric in the log


@dataclass(slots=True)
class _Job:
    """What the assessor's side has seen of one trial job."""

    identity: str | None = None
    n_seen: int = 0
    heard: set[int] | None = None  # places of the results that came one by one, in any order; not after its end
    feedback: TrialFeedback = NO_FEEDBACK  # of a job that has ended only what its record does not have yet
    parameters: Configuration | None = None  # as the trial itself told them
    joined: TrialFeedback | None = None  # its feedback at the last join, as it was given to the record
    stop: StopReason | None = None
    has_result: bool = False  # a final result, or a stop, of this very job is in the record
    has_ended: bool = False
    alive_as: str | None = None  # the identity under which it is counted among those that report and have not ended


class TrialBook:
    """Everything the search has learned; thread-safe.

    Args:
        mode: Whether a larger or a smaller score is better.
        folder: The experiment's log folder, where the journal goes; ``None`` keeps no journal.
    """

    def __init__(self, mode: OptimizeMode, folder: Path | None = None) -> None:
        self.mode = mode
        self.journal = Journal(folder)
        self.malformed = MalformedMessages(self.journal)
        self.roles: Mapping[str, str] = {}  # parameter -> role, as the tuner was told: conditions depend on it
        self._lock = threading.RLock()
        self._records = RecordStore(mode)
        self.known = KnownConfigurations(self._records, self._lock)
        self._identities: dict[int, str] = {}  # NNI parameter id -> identity
        self._jobs: dict[str, _Job] = {}  # NNI trial job id -> what it reported
        self._n_alive: Counter[str] = Counter()  # identity -> how many jobs report epochs under it and have not ended
        self._just_ended: str | None = None  # identity of the job whose end the assessor was told of last
        self._next_number = 0
        self.has_assessor = False  # our assessor tells it epochs and the ends of jobs; else the tuner has to
        self.is_over = False  # the search has what it wanted: a trial that ends without a result was ended, not failed

    def add(self, parameter_id: int | None, configuration: Configuration, origin: Origin) -> TrialRecord:
        """Enter a suggestion; the same configuration again keeps its first record.

        The actions that the origin skipped are not kept: they are a hundred and more, and the journal has them.
        """
        with self._lock:
            identity = canonical_json(configuration)
            if parameter_id is not None:
                self._identities[parameter_id] = identity
            if identity not in self._records:
                self._records[identity] = TrialRecord(
                    self._next_number, configuration, replace(origin, skipped=()), parameter_id
                )
                self._next_number += 1
            return self._records[identity]

    def restore(self, records: Sequence[TrialRecord], jobs: Mapping[str, str]) -> None:
        """Enter what an earlier process knew; parameter ids are not restored, NNI gives them out anew.

        Args:
            records: In the order of their numbers; what the book already has stays.
            jobs: trial job id -> identity of the record that holds its result.
        """
        with self._lock:
            for record in records:
                identity = canonical_json(record.configuration)
                if identity not in self._records:
                    self._records[identity] = replace(record, parameter_id=None)
                self._next_number = max(self._next_number, record.number + 1)
            for job_id, identity in jobs.items():
                self._jobs.setdefault(job_id, _Job(identity=identity, has_result=True))

    @property
    def parameter_ids(self) -> list[int]:
        """NNI's ids of all trials that this process has handed out."""
        with self._lock:
            return list(self._identities)

    def has_result(self, job_id: str | None) -> bool:
        """Whether the final result or the stop of this trial job is known."""
        with self._lock:
            job = None if job_id is None else self._jobs.get(job_id)
            return job is not None and job.has_result

    def find(self, configuration: Json) -> TrialRecord | None:
        """Return the record of a configuration, or ``None`` if it was neither suggested nor reported."""
        with self._lock:
            return self._records.get(canonical_json(configuration))

    def numbered(self, number: int) -> TrialRecord | None:
        """Return the record of the trial that was suggested in this place, or ``None`` if there is none."""
        with self._lock:
            return self._records.numbered(number)

    def resubmit(self, parameter_id: int, configuration: Configuration) -> None:
        """Give an unfinished trial of an earlier process the parameter id under which it is suggested again."""
        with self._lock:
            identity = canonical_json(configuration)
            self._identities[parameter_id] = identity
            self._update(identity, parameter_id=parameter_id)

    def identify(self, job_id: str, parameter_id: int) -> None:
        """Enter under which id a trial job got its parameters, as its metrics say: there NNI's id is always right.

        What the trial itself tells of its parameters counts more, if it was suggested.
        """
        with self._lock:
            job = self._jobs.setdefault(job_id, _Job())
            if job.parameters is None or job.identity not in self._records:
                job.identity = self._identities.get(parameter_id, job.identity)
                self._count_alive(job)

    def observe(self, job_id: str, history: Sequence[Json]) -> TrialFeedback:
        """Take in a trial's intermediate results, oldest first, and return all that it reported so far."""
        with self._lock:
            job = self._jobs.setdefault(job_id, _Job())
            if len(history) < job.n_seen:  # NNI runs the trial anew under the same id
                self._forget(job)
            return self._take_in(job, history[job.n_seen :], job.n_seen)

    def observe_next(self, job_id: str, index: int, metric: Json) -> None:
        """Take in one intermediate result, by its place; what comes twice or after the job's end is left out.

        NNI tells them in any order where they come quickly one after the other (docs/nni_facts.md, M10).
        """
        with self._lock:
            job = self._jobs.setdefault(job_id, _Job())
            if job.has_ended or index < 0:
                return
            job.heard = job.heard or set()
            if index not in job.heard:
                job.heard.add(index)
                self._take_in(job, [metric], index)

    def stop(self, job_id: str, reason: StopReason) -> TrialRecord | None:
        """Enter the assessor's verdict; return the trial's record if it is known which trial this is.

        After a final result, which comes on another thread, there is nothing to stop: no verdict is entered.
        """
        with self._lock:
            job = self._jobs.setdefault(job_id, _Job())
            if job.has_result and job.stop is None:
                return None
            job.stop, job.has_result = reason, True
            record = self._records.get(job.identity)
            if job.identity is None or record is None:  # another tuner's, or not told yet
                return None
            score = best_score(record.feedback.epochs, self.mode)
            return self._update(job.identity, status=TrialStatus.STOPPED, stop=reason, score=score)

    def cancel(self, job_id: str) -> TrialRecord | None:
        """Enter that a trial was ended from outside: by hand, for its time, or by another assessor.

        What it reported counts, as after a stop.  One without an epoch, or with a result or a verdict, is left alone.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            record = None if job is None else self._records.get(job.identity)
            if job is None or not job.feedback.epochs or job.has_result or self.is_over:
                return None
            if record is None or record.status is not TrialStatus.RUNNING:  # unknown, or another job had a result
                return None
            return self.stop(job_id, StopReason(CANCELLED, "ended from outside", job.feedback.epochs[-1].epoch))

    def verdict(self, job_id: str) -> StopReason | None:
        """Return why this trial job was stopped, or ``None`` if it was not."""
        with self._lock:
            job = self._jobs.get(job_id)
            return None if job is None else job.stop

    def finish(
        self, parameter_id: int | None, parameters: Json, metric: Json, job_id: str | None
    ) -> TrialRecord | None:
        """Enter a final result under the parameters that the trial says it had, else under those that NNI names.

        The trial may have said them in this metric or, as its job id tells, in an earlier one.

        Returns:
            The trial's record, or ``None`` if neither the trial nor NNI names its parameters: it does not count.
        """
        with self._lock:
            feedback = self._feedback_of(metric, None)
            job = None if job_id is None else self._jobs.setdefault(job_id, _Job())
            told = job.parameters if feedback.parameters is None and job is not None else feedback.parameters
            configuration = parameters if told is None else told
            given = None if parameter_id is None else self._identities.get(parameter_id)
            if not isinstance(configuration, dict) and given is not None and given in self._records:
                # NNI forgets what it was given for the first of several requests that end the search.
                configuration = self._records[given].configuration
            if not isinstance(configuration, dict):
                text = f"neither the trial nor NNI names those of the result {_excerpt(metric)}"
                self.malformed.count("no parameters", text)
                return None
            identity = self._known_identity(configuration, given)
            if identity not in self._records:
                self.add(None, configuration, FOREIGN)
            if job is not None:
                job.identity, job.has_result = identity, True
                self._count_alive(job)
                self._join(job)
                self._let_go(job)
            record = self._records[identity]
            was_stopped = record.status is TrialStatus.STOPPED
            merged = feedback.merge(record.feedback)
            score = self._final_score(metric, merged)
            return self._update(
                identity,
                status=TrialStatus.STOPPED if was_stopped else TrialStatus.SUCCEEDED,
                score=record.score if score is None else score,
                feedback=merged,
            )

    def end(self, parameter_id: int | None, success: bool) -> TrialRecord | None:
        """Enter the end of a trial, as NNI tells the tuner: by a parameter id that may be another trial's.

        Where the assessor was told of a job's end, the same end comes here next, and the job says which trial it is.
        Only a trial without result is marked, as failed; a result that comes later mends it.

        Returns:
            The trial's record if this end changed it, else ``None``.
        """
        with self._lock:
            identity, self._just_ended = self._just_ended, None
            if identity is None and parameter_id is not None:
                identity = self._identities.get(parameter_id)
                if identity in self._n_alive:  # it reports epochs, and its own job has not ended
                    return None
            return None if identity is None else self._end(identity, success)

    def end_job(self, job_id: str, success: bool) -> TrialRecord | None:
        """Enter the end of a trial job; the job id is always right.

        A trial that ended well counts with its best epoch until its final result comes, if it ever does.

        Returns:
            The trial's record if this end changed it, else ``None``.
        """
        with self._lock:
            job = self._jobs.setdefault(job_id, _Job())
            job.has_ended = True
            self._count_alive(job)
            self._add_foreign(job, success)
            self._let_go(job)
            identity = self._just_ended = job.identity
            record = self._records.get(identity)
            if identity is None or record is None or record.status is not TrialStatus.RUNNING:
                return None
            score = best_score(record.feedback.epochs, self.mode)
            if success and score is not None:
                job.has_result = True
                return self._update(identity, status=TrialStatus.SUCCEEDED, score=score)
            return self._end(identity, success)

    @property
    def n_records(self) -> int:
        """How many trials are known."""
        with self._lock:
            return len(self._records)

    def records(self, status: TrialStatus | None = None) -> list[TrialRecord]:
        """Return every record, of one status or of any, in the order of suggestion; too many for each suggestion."""
        with self._lock:
            return self._records.records(status)

    def changes_since(self, revision: int) -> tuple[list[TrialRecord], int]:
        """Return what is new since an earlier call: how to follow the search at the cost of what happened in it.

        Args:
            revision: What the earlier call returned; 0 asks for every record.

        Returns:
            Each record that changed, once, as it is now, in the order of their last changes, those of ended trials
            without their feedback; and the revision to ask with the next time.

        Raises:
            ValueError: If this book never had that revision.
        """
        with self._lock:
            return self._records.changed_since(revision), self._records.revision

    def best(self) -> TrialRecord | None:
        """Return the trial with the best score, the earliest of equals, or ``None`` before the first score."""
        ranked = self.best_trials(1)
        return ranked[0] if ranked else None

    def best_trials(self, n: int, status: TrialStatus | None = None) -> list[TrialRecord]:
        """Return the n best trials that have a score, of one status or of any, best first."""
        with self._lock:
            return self._records.best(n, status)

    def _take_in(self, job: _Job, metrics: Sequence[Json], first: int) -> TrialFeedback:
        """Enter new intermediate results, the first of which has the place ``first``; return all that is known."""
        new = [self._feedback_of(metric, index) for index, metric in enumerate(metrics, first)]
        job.n_seen = max(job.n_seen, first + len(metrics))
        self._count_alive(job)
        for feedback in new:
            job.feedback = feedback.merge(job.feedback)
        self._join(job)
        seen = job.feedback
        self._let_go(job)
        return seen

    def _final_score(self, metric: Json, feedback: TrialFeedback) -> float | None:
        """The score of a final metric; where the trial took its worst epoch for its best, that of the best."""
        mode = feedback.optimize_mode
        if mode in (None, self.mode):
            return final_score(metric, feedback.epochs, self.mode)
        text = f"the trial's monitor has {mode!r}, the tuner {self.mode!r}: the best epoch is taken by the tuner's"
        self.malformed.count("another optimize_mode", text)
        return best_score(feedback.epochs, self.mode)

    def _known_identity(self, told: Json, given: str | None) -> str:
        """Whose a report is: by the parameters that it tells; if nobody suggested those, by what its trial was given.

        A trial's code may change the very dict that NNI gave it, before the monitor reads it.
        """
        identity = canonical_json(told)
        return given if given is not None and identity not in self._records else identity

    def _join(self, job: _Job) -> None:
        """Give what a job reported to the record of the configuration it really has."""
        if job.feedback.parameters is not None:
            job.parameters = job.feedback.parameters
            job.identity = self._known_identity(job.parameters, job.identity)
            self._count_alive(job)
        if job.identity is None or job.identity not in self._records:
            return
        record = self._records[job.identity]
        is_own = record.feedback is job.joined or record.feedback == NO_FEEDBACK
        # What the record has from elsewhere, a final result above all, stays.  Merging all of it at every epoch would
        # make ten thousand epochs cost a hundred million steps.
        feedback = job.feedback if is_own else record.feedback.merge(job.feedback)
        job.joined = job.feedback
        self._update(job.identity, feedback=feedback)
        if job.stop is not None and record.stop is None and record.status is not TrialStatus.SUCCEEDED:
            score = best_score(job.feedback.epochs, self.mode) if record.score is None else record.score
            self._update(job.identity, status=TrialStatus.STOPPED, stop=job.stop, score=score)

    def _count_alive(self, job: _Job) -> None:
        """Count the job under the right identity; called whenever its identity, its epochs or its end changed."""
        identity = job.identity if job.n_seen and not job.has_ended else None
        if identity == job.alive_as:
            return
        if job.alive_as is not None:
            self._n_alive[job.alive_as] -= 1
            if not self._n_alive[job.alive_as]:
                del self._n_alive[job.alive_as]
        if identity is not None:
            self._n_alive[identity] += 1
        job.alive_as = identity

    def _add_foreign(self, job: _Job, success: bool) -> None:
        """A trial that nobody here suggested, but that told its parameters: NNI keeps its final result to itself."""
        if success and job.parameters is not None and job.identity not in self._records:
            self.add(None, job.parameters, FOREIGN)
            self._join(job)

    def _let_go(self, job: _Job) -> None:
        """Keep the epochs of a job that has ended once, in the record: a search has many more jobs than run at once."""
        if job.has_ended and job.identity in self._records:
            job.feedback, job.joined, job.heard = NO_FEEDBACK, None, None

    def _forget(self, job: _Job) -> None:
        job.n_seen, job.feedback, job.heard, job.has_ended = 0, NO_FEEDBACK, None, False
        record = self._records.get(job.identity)
        if job.identity is not None and record is not None and record.status is TrialStatus.RUNNING:
            self._update(job.identity, feedback=NO_FEEDBACK)

    def _end(self, identity: str, success: bool) -> TrialRecord | None:
        record = self._records.get(identity)
        if record is None or record.status is not TrialStatus.RUNNING:
            return None
        if success or self.is_over:  # its result is on the other thread, and on its way; or nobody needs one
            return None
        return self._update(identity, status=TrialStatus.FAILED)

    def _update(self, identity: str, **changes: Json) -> TrialRecord:
        record = self._records[identity]
        # Equal is not asked for: it would compare every epoch with itself at every epoch.
        if all(getattr(record, name) is value for name, value in changes.items()):
            return record
        self._records[identity] = replace(record, **changes)
        return self._records[identity]

    def _feedback_of(self, metric: Json, index: int | None) -> TrialFeedback:
        """The feedback inside a metric; without our key, the score is an epoch's validation score.

        ``index`` is the metric's place among the intermediate results, ``None`` for a final result.
        """
        try:
            feedback = parse_metric(metric)
        except FeedbackError as error:
            self.malformed.count("foreign feedback", str(error))
            feedback = None
        if feedback is not None:
            return feedback.without_layers()
        score = score_of(metric)
        if score is None and not _is_non_finite(metric):
            self.malformed.count("no score", f"metric {_excerpt(metric)} has no number under 'default'")
        if index is None:
            return NO_FEEDBACK
        n_nonfinite = int(score is None and _is_non_finite(metric))
        return TrialFeedback(epochs=(EpochFeedback(epoch=index, val_score=score, n_nonfinite_losses=n_nonfinite),))


class KnownConfigurations(Mapping[str, str]):
    """identity -> "running" or "tried" of every configuration of a book; read-only, thread-safe, and no copy."""

    def __init__(self, records: RecordStore, lock: threading.RLock) -> None:
        self._records = records
        self._lock = lock

    def __getitem__(self, identity: str) -> str:
        with self._lock:
            return "running" if self._records.status(identity) is TrialStatus.RUNNING else "tried"

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._records))

    def __len__(self) -> int:
        with self._lock:
            return len(self._records)


def told_parameters(metric: Json) -> dict[str, Json] | None:
    """Return the parameters that a metric says its trial had, or ``None`` if it says nothing."""
    try:
        feedback = parse_metric(metric)
    except FeedbackError:
        return None
    return None if feedback is None else feedback.parameters


_books: WeakValueDictionary[str, TrialBook] = WeakValueDictionary()  # log folder -> book of that experiment
_books_lock = threading.Lock()


def shared_book(mode: OptimizeMode) -> TrialBook:
    """Return the book of the experiment whose dispatcher this process is.

    NNI builds the tuner and the assessor separately, in one process; the log folder in ``NNI_LOG_DIRECTORY`` tells
    that they belong together.  Outside an experiment every call makes a new book without a journal.

    Raises:
        SettingsError: If tuner and assessor disagree about what is better.
    """
    folder = os.environ.get("NNI_LOG_DIRECTORY")
    if not folder:
        return TrialBook(mode)
    with _books_lock:
        book = _books.get(folder)
        if book is None:
            book = _books[folder] = TrialBook(mode, Path(folder))
    if book.mode != mode:
        raise SettingsError(
            f"the tuner's optimize_mode is {book.mode!r}, the assessor's is {mode!r}; give both the same in classArgs"
        )
    return book


def _is_non_finite(metric: Json) -> bool:
    value = reported_value(metric)
    return isinstance(value, float) and not math.isfinite(value)


def _excerpt(metric: Json) -> str:
    try:
        return repr(str(metric)[:EXCERPT_LENGTH])
    except RecursionError:
        return "of too many levels"
