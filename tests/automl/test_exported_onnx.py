"""The ONNX file answers as PyTorch does, for every block type; and the check would see if it did not."""

import sys

import numpy as np
import onnxruntime
import pytest
import torch
from automl.exported_models import CASES, TEXTS, build_case, raw_inputs
from torch import nn

from nni_dream.automl.exported import ExportedModel
from nni_dream.automl.exported_onnx import TOLERANCE, OnnxError, check_onnx, write_onnx


class Deciding(nn.Module):
    """Does one thing or another as the values are: no graph can say that."""

    def forward(self, x):
        return x.mean(dim=(2, 3)) if x.sum() > 0 else x.amax(dim=(2, 3))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A written model, for the checks of the check."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    model, description = build_case("one number")
    write_onnx(path, model, description)
    return path, model, description


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("one number", "digits as they are")])
def test_every_block_type_answers_as_pytorch_does(tmp_path, name):
    model, description = build_case(name)
    path = tmp_path / "model.onnx"
    write_onnx(path, model, description)
    assert 0 <= check_onnx(path, model, description) <= TOLERANCE

    # By the way that the card describes, for a number of inputs that the check does not try.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    is_text = description.task == "text_classification"
    prepared = ExportedModel(model, description).prepare(TEXTS[:7]) if is_text else raw_inputs(description, n=7).byte()
    inputs = prepared.long().numpy() if is_text else prepared.numpy()
    answers = session.run(None, {"ids" if is_text else "pixels": inputs})
    names = [output.name for output in session.get_outputs()]
    with torch.inference_mode():
        expected = model(prepared if is_text else prepared.float())
    assert names == (["numbers"] if description.classes is None else ["probabilities", "logits"])
    np.testing.assert_allclose(answers[-1], expected.numpy(), atol=1e-3, rtol=1e-3)
    if description.classes is not None:
        np.testing.assert_allclose(answers[0].sum(axis=1), 1.0, rtol=1e-5)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx"]  # the weights are inside


def test_texts_of_any_length_where_order_does_not_count(tmp_path):
    model, description = build_case("text ngram")
    path = tmp_path / "model.onnx"
    write_onnx(path, model, description)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for length in (1, 3, 200):
        ids = torch.arange(2 * length).view(2, length) % len(description.vocabulary())
        np.testing.assert_allclose(session.run(["logits"], {"ids": ids.numpy()})[0], model(ids).detach(), atol=1e-4)


def test_other_weights_are_seen(small):
    path, model, description = small
    changed, _ = build_case("one number")
    with torch.no_grad():
        changed.classifier.bias += 1e-2
    with pytest.raises(
        OnnxError, match=r"ONNX Runtime answers differently: by .* of the largest output, over batches of"
    ):
        check_onnx(path, changed, description)
    assert check_onnx(path, model, description) <= TOLERANCE


def test_answers_that_are_no_numbers_are_seen(small):
    path, _, description = small
    changed, _ = build_case("one number")
    with torch.no_grad():
        changed.classifier.bias.fill_(float("nan"))
    with pytest.raises(OnnxError, match="answers differently: by nan"):
        check_onnx(path, changed, description)


def test_a_broken_file_is_one_message(small, tmp_path):
    path, model, description = small
    broken = tmp_path / "model.onnx"
    broken.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(OnnxError, match=r"ONNX Runtime cannot run model\.onnx: \w+: "):
        check_onnx(broken, model, description)


def test_what_no_graph_can_say_is_one_message(tmp_path):
    model, description = build_case("one number")
    model.reduction = Deciding()
    with pytest.raises(OnnxError, match=r"this network cannot be written as ONNX: \w+: ") as raised:
        write_onnx(tmp_path / "model.onnx", model, description)
    assert "\n" not in str(raised.value)


def test_a_missing_package_is_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    model, description = build_case("one number")
    with pytest.raises(OnnxError, match=r"ONNX needs onnxscript: pip install '\.\[onnx\]' in nni_dream's checkout"):
        write_onnx(tmp_path / "model.onnx", model, description)
