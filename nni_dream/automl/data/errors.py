"""What is said when data cannot be used: one message with the thing, the place, the rule and the way out."""

from __future__ import annotations

__all__ = ["DataError", "MissingDataError"]


class DataError(ValueError):
    """Data is not there, is broken, or was asked for in a way that does not fit; the message names the file."""


class MissingDataError(DataError):
    """Data is not where it was looked for: what a download can mend."""
