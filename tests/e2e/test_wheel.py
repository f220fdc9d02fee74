"""The wheel alone, in a virtual environment of its own, used from another directory."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from e2e.experiment import REPOSITORY

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python that has the wheel, and of everything else what is installed beside the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Built from a copy: setuptools leaves build/ and *.egg-info where it works.
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder / "source"], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, folder / "source"], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    site = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python, code, folder):
    return subprocess.check_output([python, "-c", code], text=True, cwd=folder).strip()


def test_the_package_comes_from_the_wheel(python, tmp_path):
    assert Path(run(python, "import nni_dream; print(nni_dream.__file__)", tmp_path)).is_relative_to(python.parents[1])


def test_the_tuner_finds_its_table(python, tmp_path):
    code = "from nni_dream.tuner import DreamTuner; DreamTuner(); print('it has one')"  # else it raises
    assert run(python, code, tmp_path) == "it has one"


def test_every_module_is_there(python, tmp_path):
    code = (
        "import nni_dream, pathlib; print(*sorted(str(p) for p in pathlib.Path(nni_dream.__path__[0]).rglob('*.py')))"
    )
    inside = run(python, code, tmp_path).split()
    names = {Path(path).relative_to(Path(inside[0]).parent.parent) for path in inside}
    tracked = subprocess.check_output(["git", "ls-files", "nni_dream/*.py"], cwd=REPOSITORY, text=True).split()
    missing = [
        path for path in tracked if not any(str(name).endswith(path.removeprefix("nni_dream/")) for name in names)
    ]
    assert missing == []
