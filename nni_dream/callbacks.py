"""A callback of NNI never raises: an exception in one leaves the experiment RUNNING for ever, without a word."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["never_raises"]

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

_logger = logging.getLogger(__name__)


def never_raises(fallback: Any) -> Callable[[Callable[P, ResultT]], Callable[P, ResultT]]:
    """Log whatever a callback raises, with its traceback, and return the fallback instead."""

    def decorate(callback: Callable[P, ResultT]) -> Callable[P, ResultT]:
        @functools.wraps(callback)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResultT:
            try:
                return callback(*args, **kwargs)
            except Exception:  # nobody above could answer it
                _logger.exception("%s failed; the search goes on without it", callback.__qualname__)
                result: ResultT = fallback
                return result

        return guarded

    return decorate
