"""How NNI's manager says that a trial job has ended."""

from __future__ import annotations

from typing import Final

__all__ = ["CANCELLED_JOBS", "ENDED_JOBS"]

CANCELLED_JOBS: Final = ("USER_CANCELED", "SYS_CANCELED", "EARLY_STOPPED")  # ended from outside, or by the assessor
ENDED_JOBS: Final = ("SUCCEEDED", "FAILED", *CANCELLED_JOBS)
