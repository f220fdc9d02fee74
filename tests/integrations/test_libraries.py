"""What a user meets whose machine lacks a hook's library, and which library a hook takes."""

import importlib
import os
import subprocess
import sys

import pytest

from nni_dream.integrations.libraries import import_library


@pytest.mark.parametrize(
    ("hook", "missing", "words"),
    [
        ("lightning", ["lightning.pytorch", "pytorch_lightning"], "needs 'lightning.pytorch' or 'pytorch_lightning'"),
        ("transformers", ["transformers"], "needs 'transformers'"),
        ("transformers", ["accelerate.optimizer"], "needs 'accelerate.optimizer'"),
        ("keras", ["keras"], "needs 'keras'"),
    ],
)
def test_a_missing_library_is_told_with_the_extra_that_installs_it(hook, missing, words, monkeypatch):
    monkeypatch.delitem(sys.modules, f"nni_dream.integrations.{hook}", raising=False)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(ImportError) as caught:
        importlib.import_module(f"nni_dream.integrations.{hook}")
    assert (
        str(caught.value) == f"nni_dream.integrations.{hook} {words}: pip install '.[{hook}]' in nni_dream's checkout"
    )


def test_keras_without_a_backend_is_told_how_to_choose_torch():
    code = "import sys; sys.modules['tensorflow'] = None; import nni_dream.integrations.keras"
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    process = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    last = process.stderr.splitlines()[-1]
    assert last.startswith("ImportError: Keras needs 'tensorflow' for its backend, which is not installed: set the ")
    assert "KERAS_BACKEND=torch" in last


@pytest.fixture
def make_module(tmp_path, monkeypatch):
    def make(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)

    monkeypatch.syspath_prepend(tmp_path)
    return make


def test_the_first_candidate_is_taken_unless_another_is_in_use(make_module, monkeypatch):
    make_module("hook_library_new", "")
    make_module("hook_library_old", "")
    candidates = ("hook_library_new", "hook_library_old")
    assert import_library(candidates, extra="x").__name__ == "hook_library_new"

    monkeypatch.delitem(sys.modules, "hook_library_new")
    __import__("hook_library_old")
    assert import_library(candidates, extra="x").__name__ == "hook_library_old"
    monkeypatch.delitem(sys.modules, "hook_library_old")


def test_a_library_that_lacks_its_own_dependency_says_so_itself(make_module):
    make_module("hook_library_broken", "import a_module_that_is_not_there")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        import_library(("hook_library_broken",), extra="x")
