"""Broken files as torch writes them."""

import random

import pytest
import torch

from nni_dream.automl.torch_files import TorchFileError, read_torch_file


def test_tensors_are_read(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "w.pt")
    assert read_torch_file(tmp_path / "w.pt")["a"].tolist() == [0, 1, 2]


def test_a_missing_file_is_no_broken_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n"], ids=["empty", "pointer"])
def test_what_is_no_torch_file_is_named(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(TorchFileError, match=r"^torch cannot read w\.pt: \w+Error: "):
        read_torch_file(tmp_path / "w.pt")


def test_what_would_run_code_is_refused(tmp_path):
    torch.save({"a": random.Random(0)}, tmp_path / "w.pt")
    with pytest.raises(TorchFileError, match=r"^torch cannot read w\.pt: UnpicklingError: "):
        read_torch_file(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated
def test_a_scripted_model_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "w.pt")
    with pytest.raises(TorchFileError, match=r"^torch cannot read w\.pt: RuntimeError: .*TorchScript"):
        read_torch_file(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore")  # torch's own, of what the wrong bytes say
def test_wrong_bytes_are_one_kind_of_error(tmp_path):
    """torch itself raises KeyError, IndexError, UnicodeDecodeError and more."""
    torch.save({f"weight {i}": torch.rand(3, 3) for i in range(5)}, tmp_path / "w.pt")
    written, rng = (tmp_path / "w.pt").read_bytes(), random.Random(0)
    causes = set()
    for _ in range(300):
        content = bytearray(written)
        for _ in range(3):
            content[rng.randrange(1000)] = rng.randrange(256)
        (tmp_path / "w.pt").write_bytes(content)
        try:
            read_torch_file(tmp_path / "w.pt")
        except TorchFileError as error:
            causes.add(type(error.__cause__))
    assert {KeyError, IndexError, UnicodeDecodeError} < causes
