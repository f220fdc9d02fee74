import pytest
import torch

torch.set_num_threads(1)  # small tensors: a second thread only waits


@pytest.fixture
def no_caches(tmp_path, monkeypatch):
    """Let timm's caches be empty."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path
