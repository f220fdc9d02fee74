"""The records of all trials, each found at once: by its configuration, by its rank, by when it changed last.

One trial, the best few, what is new: none of these questions walks over the other trials, so that a suggestion costs
the same after a hundred thousand trials as after a thousand.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from itertools import islice, takewhile
from typing import Final

from nni_dream.feedback import OptimizeMode, TrialFeedback
from nni_dream.search.space import Configuration
from nni_dream.search.stopping import StopReason
from nni_dream.search.suggestions import Origin

__all__ = ["NO_FEEDBACK", "RecordStore", "TrialRecord", "TrialStatus"]

NO_FEEDBACK: Final = TrialFeedback()
N_UNPACKED: Final = 16  # feedbacks of ended trials that are kept ready: the best are asked for again and again


class TrialStatus(str, Enum):
    """Where a trial stands."""

    RUNNING = "running"  # suggested, and no end seen yet
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"  # by the assessor, or from outside after an epoch or more
    FAILED = "failed"  # it ended without a result


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial, as far as it is known."""

    number: int  # in the order of suggestion, from 0
    configuration: Configuration
    origin: Origin
    parameter_id: int | None = None
    status: TrialStatus = TrialStatus.RUNNING
    score: float | None = None  # the final result; of a stopped trial the best it reported
    feedback: TrialFeedback = NO_FEEDBACK
    stop: StopReason | None = None


class RecordStore:
    """Record of every trial by its identity, the canonical JSON of its configuration.

    The epochs of ended trials, by far the largest part, are kept as text and become objects when asked for.  Not
    thread-safe: its owner holds a lock.

    Args:
        mode: Whether a larger or a smaller score is better.
    """

    def __init__(self, mode: OptimizeMode) -> None:
        self._sign = -1.0 if mode == "maximize" else 1.0
        self._records: dict[str, TrialRecord] = {}  # identity -> record, in the order of suggestion
        self._identities: dict[int, str] = {}  # number of a trial -> identity
        self._packed: dict[str, bytes] = {}  # identity -> feedback, which the record above then does not have
        self._revisions: OrderedDict[str, int] = OrderedDict()  # identity -> revision of its last change, rising
        # The ranks of the scored trials of each status, best first.  A score may change in either direction.
        self._ranking: dict[TrialStatus, list[tuple[float, int, str]]] = {status: [] for status in TrialStatus}
        self.revision = 0  # how many changes there were

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __contains__(self, identity: object) -> bool:
        return identity in self._records

    def __getitem__(self, identity: str) -> TrialRecord:
        record, packed = self._records[identity], self._packed.get(identity)
        return record if packed is None else replace(record, feedback=_unpack(packed))

    def __setitem__(self, identity: str, record: TrialRecord) -> None:
        previous = self._records.get(identity)
        self._packed.pop(identity, None)
        if record.status is not TrialStatus.RUNNING:
            self._packed[identity] = _pack(record.feedback)
            record = replace(record, feedback=NO_FEEDBACK)
        self._records[identity] = record
        self._identities[record.number] = identity
        self.revision += 1
        self._revisions[identity] = self.revision
        self._revisions.move_to_end(identity)
        self._rank_again(identity, previous, record)

    def get(self, identity: str | None) -> TrialRecord | None:
        return self[identity] if identity in self._records else None

    def numbered(self, number: int) -> TrialRecord | None:
        return self.get(self._identities.get(number))

    def status(self, identity: str) -> TrialStatus:
        return self._records[identity].status

    def records(self, status: TrialStatus | None = None) -> list[TrialRecord]:
        """Return every record, of one status or of any, in the order of suggestion."""
        return [self[key] for key, record in self._records.items() if status is None or record.status is status]

    def best(self, n: int, status: TrialStatus | None = None) -> list[TrialRecord]:
        """Return the n best records that have a score, of one status or of any, best first, the earlier of equals."""
        rankings = self._ranking.values() if status is None else [self._ranking[status]]
        return [self[identity] for _, _, identity in islice(heapq.merge(*rankings), n)]

    def changed_since(self, revision: int) -> list[TrialRecord]:
        """Return each record that changed after a revision, once, as it is now, in the order of the last changes.

        Ended trials come without their feedback: to unpack that of ten thousand takes seconds, and nobody asks for it.

        Raises:
            ValueError: If the revision lies in the future: it is another store's.
        """
        if not 0 <= revision <= self.revision:
            raise ValueError(f"revision {revision} is not one of this book, which is at revision {self.revision}")
        latest_first = takewhile(lambda item: item[1] > revision, reversed(self._revisions.items()))
        return [self._records[identity] for identity, _ in latest_first][::-1]

    def _rank_again(self, identity: str, previous: TrialRecord | None, record: TrialRecord) -> None:
        before = None if previous is None else self._rank(identity, previous)
        after = self._rank(identity, record)
        if previous is not None and before is not None:
            if (before, previous.status) == (after, record.status):
                return
            ranking = self._ranking[previous.status]
            del ranking[bisect_left(ranking, before)]
        if after is not None:
            insort(self._ranking[record.status], after)

    def _rank(self, identity: str, record: TrialRecord) -> tuple[float, int, str] | None:
        """What the record is ordered by, smaller is better; ``None`` without a finite score."""
        if record.score is None or not math.isfinite(record.score):
            return None
        return self._sign * record.score, record.number, identity


def _pack(feedback: TrialFeedback) -> bytes:
    """The feedback as JSON, a fifth of the objects' size; without the parameters, which the record has itself."""
    return feedback.model_copy(update={"parameters": None}).model_dump_json(exclude_none=True).encode()


@lru_cache(N_UNPACKED)
def _unpack(packed: bytes) -> TrialFeedback:
    return TrialFeedback.model_validate_json(packed)
