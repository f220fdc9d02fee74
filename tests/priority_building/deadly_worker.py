"""A worker that is killed by a configuration with the word "deadly": what a full memory does, on demand."""

import json
import os
import signal
import sys


def say(words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


say("ready")
for line in sys.stdin:
    if "deadly" in line:
        os.kill(os.getpid(), signal.SIGKILL)
    say({"metric": 0.5, "seconds": 0.0})
