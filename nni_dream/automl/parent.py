"""A trial that ends with the process that started it.

NNI stops a trial by stopping the shell that it started; a program below that shell would survive and keep training
beside the next trial (NNI issues #5769, #558).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

__all__ = ["end_with_parent"]

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


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
