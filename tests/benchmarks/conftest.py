"""The benchmarks are scripts and no package: their folder is where their modules are found."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
