"""What a search knew before it was stopped, killed or moved, rebuilt from its journal.

The journal is the truth.  What NNI's resume replays comes later and may name another trial's parameters
(:meth:`nni_dream.tuner.DreamTuner.import_data`).  Each line stands alone: one that is torn, or that another version
wrote in a form unknown here, is passed over and counted, and the rest is used.
"""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Final

from nni_dream import __version__
from nni_dream.feedback import Json, TrialFeedback, score_of
from nni_dream.journal import UNUSABLE_EVENT
from nni_dream.search.json_values import canonical_json
from nni_dream.search.stopping import StopReason
from nni_dream.search.suggestions import Origin
from nni_dream.trials import TrialBook, TrialRecord, TrialStatus, told_parameters

__all__ = ["Memory", "may_import", "recall", "restore", "unfinished_trials"]

_logger = logging.getLogger(__name__)

FOREIGN: Final = Origin("foreign", "its suggestion is not in the journal")


@dataclass
class Memory:
    """Everything a journal says that the search needs to go on."""

    records: dict[str, TrialRecord] = field(default_factory=dict)  # identity -> record, in the order of the numbers
    jobs: dict[str, str] = field(default_factory=dict)  # trial job id -> identity of the record with its result
    applied: dict[int, set[str]] = field(default_factory=dict)  # candidate's trial number -> keys of actions given
    n_malformed: dict[str, int] = field(default_factory=dict)  # kind of malformed metric -> how many
    seed: int | None = None
    optimize_mode: str | None = None
    version: str | None = None
    n_unusable: int = 0  # events that are not what this version writes
    taken: set[int] = field(default_factory=set)  # the numbers of the records
    next_number: int = 0  # larger than all of them

    @property
    def is_empty(self) -> bool:
        return self.version is None and not self.records


@contextmanager
def _nothing_is_garbage() -> Iterator[None]:
    """Keep Python's collector away: whatever is made stays, and it would look through all of it again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_nothing_is_garbage()
def recall(events: Iterable[Mapping[str, Json]]) -> Memory:
    """Return what the events of a journal tell, however many searches wrote them."""
    memory = Memory()
    numbers: dict[int, str] = {}  # trial number, as the journal counts -> identity
    for event in events:
        _enter(memory, numbers, event)
    memory.records = dict(sorted(memory.records.items(), key=lambda item: item[1].number))
    return memory


def _enter(memory: Memory, numbers: dict[int, str], event: Mapping[str, Json]) -> None:
    enter = _ENTRIES.get(event["event"])
    if enter is None:
        return
    try:
        enter(memory, numbers, event)
    except UNUSABLE_EVENT:
        memory.n_unusable += 1


@_nothing_is_garbage()
def restore(book: TrialBook, seed: int | None) -> Memory:
    """Fill the book from its own journal; return what the journal said, with the seed to use.

    Args:
        seed: The one in the settings, which counts; ``None`` takes the journal's, if there is one.
    """
    memory = recall(book.journal.events())
    if not memory.is_empty:
        book.restore(list(memory.records.values()), memory.jobs)
        book.malformed.restore(memory.n_malformed)
        _logger.info("the journal knows %d trials, %d results", len(memory.records), len(memory.jobs))
        now = {"seed": memory.seed if seed is None else seed, "optimize_mode": book.mode, "version": __version__}
        for name, value in now.items():
            if getattr(memory, name) != value:
                _logger.warning("the journal was written with %s %s, now %s", name, getattr(memory, name), value)
    if memory.n_unusable:
        _logger.warning("%d events of the journal cannot be used", memory.n_unusable)
    memory.seed = memory.seed if seed is None else seed
    return memory


def unfinished_trials(book: TrialBook, restarted: Iterable[Json]) -> list[TrialRecord]:
    """Return the trials without end that NNI does not start again.

    They waited for a free slot, or ran under parameters that NNI recorded for another trial.

    Args:
        restarted: The configurations that NNI's resume runs again by itself.
    """
    known = {canonical_json(configuration) for configuration in restarted}
    running = book.records(TrialStatus.RUNNING)
    return [record for record in running if canonical_json(record.configuration) not in known]


def may_import(book: TrialBook, entry: Mapping[str, Json], *, continues: bool) -> bool:
    """Whether a result that NNI replays may be entered: the journal does not have it, nor a better one.

    A trial that did not tell its parameters has only those that NNI names, and NNI's pair may be wrong.  It is where
    they have a result of another job already, and where a search that continues never suggested them: they are those
    of a trial from the web page.

    Args:
        continues: Whether the journal knows the search; without one there is nothing but NNI's pairs.
    """
    job_id, value = entry.get("trialJobId"), entry.get("value")
    if book.has_result(job_id):
        return False
    if told_parameters(value) is not None:
        return True
    known = book.find(entry.get("parameter"))
    if known is None and (job_id is None or not continues):
        return True
    if known is not None and known.score is None:
        return True
    if known is None or known.score != score_of(value):
        whose = "an imported result" if job_id is None else f"the result of trial job {job_id}"
        had = "were never suggested" if known is None else "have another result already"
        text = f"{whose} does not name its parameters, and those that NNI names {had}: it does not count"
        book.malformed.count("doubtful parameters", text)
    return False


def _start(memory: Memory, _: dict[int, str], event: Mapping[str, Json]) -> None:
    memory.version, memory.seed = str(event["version"]), int(event["seed"])
    memory.optimize_mode = str(event["settings"]["optimize_mode"])


def _suggestion(memory: Memory, numbers: dict[int, str], event: Mapping[str, Json]) -> None:
    known = {entry.name for entry in fields(Origin)} & set(event) - {"skipped"}  # nobody asks again what was skipped
    origin = Origin(**{name: event[name] for name in known})
    if origin.interval is not None:  # JSON has no tuples
        low, high = origin.interval
        origin = replace(origin, interval=(low, high))
    if origin.candidate is not None and origin.candidate in numbers:
        candidate = memory.records[numbers[origin.candidate]].number
        origin = replace(origin, candidate=candidate)
        memory.applied.setdefault(candidate, set()).add(str(origin.key))
    _record(memory, numbers, event, origin)


def _result(memory: Memory, numbers: dict[int, str], event: Mapping[str, Json]) -> None:
    status = TrialStatus(event["status"])
    feedback = TrialFeedback.model_validate(event.get("feedback", {}))
    score = _score(event)
    identity = _record(memory, numbers, event, FOREIGN)
    record = memory.records[identity]
    memory.records[identity] = replace(record, status=status, score=score, feedback=feedback)
    _enter_job(memory, event, identity)


def _stop(memory: Memory, numbers: dict[int, str], event: Mapping[str, Json]) -> None:
    if event["trial"] is None:  # it was never told which trial this was
        return
    score = _score(event)
    identity = _record(memory, numbers, event, FOREIGN)
    reason = StopReason(event["rule"], event["text"], event["epoch"], event["numbers"])
    feedback = TrialFeedback.model_validate(event.get("feedback", {}))
    memory.records[identity] = replace(
        memory.records[identity], status=TrialStatus.STOPPED, score=score, feedback=feedback, stop=reason
    )
    _enter_job(memory, event, identity)


def _end(memory: Memory, numbers: dict[int, str], event: Mapping[str, Json]) -> None:
    identity = numbers[event["trial"]]
    record = memory.records[identity]
    if record.status is TrialStatus.RUNNING:
        memory.records[identity] = replace(record, status=TrialStatus(event["status"]))


def _malformed(memory: Memory, _: dict[int, str], event: Mapping[str, Json]) -> None:
    memory.n_malformed[str(event["kind"])] = int(event["n"])


def _record(memory: Memory, numbers: dict[int, str], event: Mapping[str, Json], origin: Origin) -> str:
    """Return the identity of the event's configuration, and enter its record if there is none yet."""
    configuration = event["parameters"]
    if not isinstance(configuration, dict):
        raise TypeError(f"parameters {configuration!r} are not an object")
    identity = canonical_json(configuration)
    if identity not in memory.records:
        number = int(event["trial"])
        if number in memory.taken:  # a journal of two searches that both counted from 0
            number = memory.next_number
        memory.taken.add(number)
        memory.next_number = max(memory.next_number, number + 1)
        memory.records[identity] = TrialRecord(number, configuration, origin)
    numbers[int(event["trial"])] = identity
    return identity


def _score(event: Mapping[str, Json]) -> float | None:
    if event["score"] is None:
        return None
    score = float(event["score"])
    if not math.isfinite(score):
        raise ValueError(f"score {score} is no finite number")
    return score


def _enter_job(memory: Memory, event: Mapping[str, Json], identity: str) -> None:
    if isinstance(event.get("job"), str):
        memory.jobs[event["job"]] = identity


_ENTRIES: Final = {
    "start": _start,
    "suggestion": _suggestion,
    "result": _result,
    "stop": _stop,
    "end": _end,
    "malformed_metric": _malformed,
}
