"""What the plugin adds to NNI's dispatcher before it connects: processor seconds of the imports and constructors.

    python benchmarks/dispatcher_import.py

NNI gives the dispatcher ten seconds to connect.  Each measurement is a process of its own; the two are taken in turn,
and the medians compared.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

N_RUNS = 7
LIMIT_SECONDS = 0.5

NNI_ALONE = "import nni.runtime.msg_dispatcher"
WITH_PLUGIN = f"""{NNI_ALONE}
from nni_dream.assessor import DreamAssessor
from nni_dream.tuner import DreamTuner
DreamTuner(seed=0), DreamAssessor()"""
REPORT = """
import json, sys, time
print(json.dumps([time.process_time(), "torch" in sys.modules]))"""


def main() -> None:
    alone, with_plugin = [], []
    for _ in range(N_RUNS):
        alone.append(measure(NNI_ALONE)[0])
        seconds, has_torch = measure(WITH_PLUGIN)
        with_plugin.append(seconds)
    nni_seconds, plugin_seconds = statistics.median(alone), statistics.median(with_plugin)
    added = plugin_seconds - nni_seconds
    print(f"NNI's dispatcher alone     {nni_seconds:.2f} s of processor time (median of {N_RUNS})")
    print(f"with tuner and assessor    {plugin_seconds:.2f} s")
    print(f"added                      {added:.2f} s (limit {LIMIT_SECONDS} s), {added / nni_seconds:.0%} of NNI's own")
    print(f"torch imported             {'yes' if has_torch else 'no'}")
    sys.exit(added > LIMIT_SECONDS or has_torch)


def measure(code: str) -> tuple[float, bool]:
    done = subprocess.run([sys.executable, "-c", code + REPORT], capture_output=True, text=True, check=True)
    seconds, has_torch = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), bool(has_torch)


if __name__ == "__main__":
    main()
