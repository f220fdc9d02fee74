"""Messages that are wrong or incomplete: counted by kind, told once, and kept in the journal."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping

from nni_dream.journal import Journal

__all__ = ["MalformedMessages"]

_logger = logging.getLogger(__name__)


class MalformedMessages:
    """How many messages of each kind were malformed in this search; thread-safe."""

    def __init__(self, journal: Journal) -> None:
        self.n: Counter[str] = Counter()  # kind -> how many
        self._n_journalled: Counter[str] = Counter()  # the same, as far as the journal has it
        self._journal = journal
        self._lock = threading.Lock()

    def count(self, kind: str, text: str) -> None:
        """Count one; the first of its kind is logged and goes into the journal at once."""
        with self._lock:
            self.n[kind] += 1
            if self.n[kind] == 1:
                self._n_journalled[kind] = 1
                _logger.warning("%s: %s (logged once)", kind, text)
                self._journal.append("malformed_metric", kind=kind, n=1, text=text)

    def restore(self, n: Mapping[str, int]) -> None:
        """Add what the journal has from an earlier process: kind -> how many."""
        with self._lock:
            self.n.update(n)
            self._n_journalled.update(n)

    def write_counts(self) -> None:
        """Bring the counts in the journal up to date; called when a trial ends."""
        with self._lock:
            for kind, n in self.n.items():
                if n != self._n_journalled[kind]:
                    self._n_journalled[kind] = n
                    self._journal.append("malformed_metric", kind=kind, n=n)
