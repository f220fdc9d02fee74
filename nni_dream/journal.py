"""The search's own record: one JSON object a line, appended and flushed, in the experiment's log folder.

NNI's records can pair a score with another trial's parameters; this file has the true pairs, and every reason.  A
search that is resumed is rebuilt from it (:mod:`nni_dream.resume`).  Every event has ``time`` (UTC) and ``event``:

``start``
    A dispatcher began: ``version`` of the package, ``seed``, ``settings`` of the tuner; ``continues`` is true when the
    events before it count, ``n_trials`` how many trials they told of.
``search_space``
    ``search_space`` is in force from here on.
``refused``
    A search space was not taken; ``reason``.
``suggestion``
    Trial number ``trial`` was given out under NNI's ``parameter_id`` with ``parameters``; the fields of
    :class:`nni_dream.search.suggestions.Origin` say why, ``n_skipped`` counts all that ``skipped`` may have lost.
``suggestion_again``
    ``trial`` had no result when the search was stopped, and is given out again under ``parameter_id``.
``result``
    The final result of ``trial``: ``job``, ``parameters``, ``score`` (null when it was no finite number),
    ``optimize_mode``, ``condition``, ``status``, ``n_epochs``, ``is_best``, and ``feedback``: what the condition
    follows from, every epoch without its per-layer numbers, of more than 500 the first 250 and the last 250.
``stop``
    The assessor stopped ``job``, or it was cancelled from outside; ``trial`` is null when it is not known which.
    ``rule``, ``text``, ``epoch``, ``numbers``; with a trial also ``parameters``, ``score`` (its best),
    ``optimize_mode``, ``condition``, ``n_epochs``, ``feedback``.
``end``
    ``trial`` ended without a result; ``status``.
``malformed_metric``
    ``n`` messages of this ``kind`` were wrong or incomplete so far; the first of a kind has its ``text``.
``finish``
    The search ends before its budget; ``reason``.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from pydantic_core import from_json

from nni_dream.feedback import Json
from nni_dream.json_lines import append_line, is_torn

__all__ = ["JOURNAL_NAME", "UNUSABLE_EVENT", "Journal", "read_journal"]

JOURNAL_NAME: Final = "dream_journal.jsonl"
# What reading an event raises that is not as this version writes it; pydantic's errors are among the ValueErrors.
UNUSABLE_EVENT: Final = (KeyError, TypeError, ValueError, AttributeError, OverflowError)

_logger = logging.getLogger(__name__)


class Journal:
    """Appends events to a file; a journal without a folder writes nowhere.

    Writing never raises: a full disk must not end a search.  The first failure is logged.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / JOURNAL_NAME
        self.lock = threading.Lock()  # for what is read and written as one: a later line must not be older
        self._line_start = "\n" if self.path is not None and is_torn(self.path) else ""
        self._has_failed = False

    def append(self, event: str, **fields: Json) -> None:
        """Append one event; the fields are JSON values without NaN or infinity."""
        if self.path is None:
            return
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        try:
            line = json.dumps({"time": now, "event": event, **fields}, allow_nan=False)
            append_line(self.path, self._line_start + line)
            self._line_start = ""
        except (OSError, ValueError, TypeError) as error:
            self._log_once(event, error)

    def events(self) -> Iterator[dict[str, Json]]:
        """Yield what the file holds, from its beginning; nothing without a folder."""
        if self.path is not None:
            yield from read_journal(self.path)

    def _log_once(self, event: str, error: Exception) -> None:
        if not self._has_failed:
            _logger.error("journal %s: event %r is lost: %s", self.path, event, error)
        self._has_failed = True


def _parse(line: str) -> Json:
    """Read JSON in half the time that the json module takes: a long search has a hundred megabytes of it."""
    try:
        return from_json(line)
    except ValueError:  # it refuses half a surrogate pair, which json.dumps writes without a word
        return json.loads(line)


def read_journal(path: Path) -> Iterator[dict[str, Json]]:
    """Yield the events of a journal in order; a torn last line and lines of a foreign kind are passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = _parse(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                yield event
