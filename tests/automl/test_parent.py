import subprocess
import sys

CHILD = """
import signal
from nni_dream.automl.parent import end_with_parent
end_with_parent()
print("ready", flush=True)
signal.pause()
"""
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


def test_a_trial_ends_with_its_parent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"  # from the child, which inherits the pipe
    parent.kill()
    rest, _ = parent.communicate(timeout=10)  # returns once nobody holds the pipe any more
    assert rest == ""
