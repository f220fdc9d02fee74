import subprocess
import sys

import pytest

from nni_dream.torchvision_compatibility import ensure_torchvision

PLAIN_THEN_ENSURED = """
import torch
from nni_dream import torchvision_compatibility
from nni_dream.torchvision_compatibility import ensure_torchvision

try:
    import torchvision
except RuntimeError:
    needs_help = True
else:
    needs_help = False

torchvision = ensure_torchvision()
assert ensure_torchvision() is torchvision
assert torchvision_compatibility._fragment.cache_info().currsize == needs_help  # declared only where needed

model = torchvision.models.resnet18(num_classes=10)
assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
turned = torchvision.transforms.RandomAffine(degrees=(90, 90))(torch.eye(8).unsqueeze(0))
assert torch.equal(turned, torch.eye(8).flip(0).unsqueeze(0))
"""


def test_torchvision_works_and_is_left_alone_where_it_works_by_itself():
    process = subprocess.run([sys.executable, "-c", PLAIN_THEN_ENSURED], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("RuntimeError('operator torchvision::unheard_of does not exist')", "torchvision::unheard_of"),
        ("RuntimeError('compiled with different CUDA major versions')", "different CUDA"),
    ],
)
def test_another_failure_is_passed_on(tmp_path, monkeypatch, error, words):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(f"raise {error}\n")
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match=words):
        ensure_torchvision()
