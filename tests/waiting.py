"""Waiting for what happens in another thread or process: on a condition, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest


def wait_until(is_true: Callable[[], object], what: str, deadline_seconds: float = 60.0) -> None:
    """Wait for a condition; fail with its name when the deadline has passed."""
    end = time.monotonic() + deadline_seconds
    pause = threading.Event()
    while not is_true():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen within {deadline_seconds:g} s")
        pause.wait(0.05)
