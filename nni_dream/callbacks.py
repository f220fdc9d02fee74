"""What NNI calls never raises: an exception in a callback leaves the experiment RUNNING for ever, without a word.

Nor does what NNI itself does with a message before it calls anybody.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["dispatcher_of", "guard_dispatcher", "never_raises", "report_error"]

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
                _logger.exception("%s failed and was skipped", callback.__qualname__)
                result: ResultT = fallback
                return result

        return guarded

    return decorate


def guard_dispatcher(
    dispatcher: Any, report: Callable[[str, str], None], hear: Callable[[Any, Any], None] = lambda command, data: None
) -> None:
    """Let this NNI dispatcher survive what its own handlers raise before any callback is reached.

    A metric of a thousand nested levels does, and so does the result of a trial that it never heard of; the thread
    that handles the command ends, and with it the search.

    Args:
        dispatcher: NNI's ``MsgDispatcher``; this one object is changed, not its class, and only once.
        report: Takes the kind and the text of each failure.
        hear: Takes each command and its data as the manager sends them, before NNI does: NNI passes on only a part.
            Never raises.
    """
    process = getattr(dispatcher, "process_command", None)
    if process is None or hasattr(process, "__wrapped__"):
        return

    @functools.wraps(process)
    def guarded(command: Any, data: Any) -> None:
        try:
            hear(command, data)
            process(command, data)
        except Exception as error:  # whatever NNI trips over, the next command can be answered
            _logger.debug("command %s", command, exc_info=True)
            report("unreadable message", f"NNI cannot process {command}: {type(error).__name__}: {error}")

    dispatcher.process_command = guarded


def dispatcher_of(st_callback: Callable[..., None] | None) -> Any:
    """Return NNI's dispatcher, or ``None``; NNI gives a tuner no other way to it than the callback of a request."""
    return getattr(st_callback, "__self__", None)


def report_error(st_callback: Callable[..., None] | None, reason: str) -> None:
    """Log the reason and give the experiment, where there is one, the status ERROR, with which it ends.

    NNI writes the reason into its manager's log; its web page says only that the tuner may have crashed.
    """
    _logger.error("%s", reason)
    dispatcher = dispatcher_of(st_callback)
    if dispatcher is not None:
        dispatcher.report_error(reason)
