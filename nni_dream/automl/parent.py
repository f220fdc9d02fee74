"""A trial that ends with the process that started it, and as that one asks.

NNI stops a trial by stopping the shell that it started; a program below that shell would survive and keep training
beside the next trial (NNI issues #5769, #558).  One that answers with an exit code has failed, to NNI; only what its
signal has ended counts as cancelled.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

__all__ = ["end_interrupted", "end_with_parent"]

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
INTERRUPTED: Final = 130  # exit code of a process that was asked to stop, as shells have it


def end_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends; Linux only, elsewhere nothing happens.

    Call it early: of a parent that was gone before the call nothing is known.
    """
    if not sys.platform.startswith("linux"):
        return
    parent_id = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_id:  # it ended between the two calls: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)


def end_interrupted() -> int:
    """End this process by the interrupt that it was sent; where that does not work, return the exit code for it."""
    sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
    return INTERRUPTED
