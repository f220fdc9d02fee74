"""A model that was exported: the same answers as before, from its folder alone."""

import json
import subprocess
import sys

import pytest
import torch
from automl.exported_models import CASES, CLASSES, TEXTS, build_case, describe_case, raw_inputs
from safetensors.torch import load_file, save_file
from torch import nn

from nni_dream.automl import load
from nni_dream.automl.exported import ClassPrediction, ExportedModelError
from nni_dream.automl.exported_files import read_model, write_model
from nni_dream.automl.kept_model import save_model
from nni_dream.automl.models.text import WordVectors
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.weights import WeightsSource


def write_case(folder, name="vanilla"):
    model, description = build_case(name)
    folder.mkdir(exist_ok=True)
    write_model(folder, model.state_dict(), description)
    return model, description


@pytest.mark.parametrize("name", CASES)
def test_every_block_type_answers_as_before(tmp_path, name):
    model, description = write_case(tmp_path, name)
    exported = load(tmp_path)
    inputs = raw_inputs(description)
    with torch.inference_mode():
        assert torch.equal(exported.network(inputs), model(inputs))
    state = model.state_dict()
    assert {key: tensor.dtype for key, tensor in exported.network.state_dict().items()} == {
        key: tensor.dtype for key, tensor in state.items()
    }
    assert all(torch.equal(tensor, state[key]) for key, tensor in exported.network.state_dict().items())
    assert not exported.network.training


@pytest.mark.parametrize("name", ["resnet", "text vanilla"])
def test_a_classifier_gives_classes_and_probabilities(tmp_path, name):
    model, description = write_case(tmp_path, name)
    exported = load(str(tmp_path))
    inputs = TEXTS if name == "text vanilla" else raw_inputs(description).byte().permute(0, 2, 3, 1).numpy()
    answers = exported.predict(inputs)
    assert exported.classes == CLASSES
    assert len(answers) == len(inputs)
    with torch.inference_mode():
        probabilities = model(exported.prepare(inputs) if name == "text vanilla" else raw_inputs(description)).softmax(
            1
        )
    for answer, row in zip(answers, probabilities, strict=True):
        assert isinstance(answer, ClassPrediction)
        assert list(answer.probabilities) == CLASSES
        assert list(answer.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-6)
        assert sum(answer.probabilities.values()) == pytest.approx(1.0)
        assert answer.label == CLASSES[int(row.argmax())]
        assert answer.probability == max(answer.probabilities.values())


def test_a_regression_gives_numbers(tmp_path):
    model, description = write_case(tmp_path, "one number")
    inputs = raw_inputs(description)
    answers = load(tmp_path).predict(inputs.byte().permute(0, 2, 3, 1).numpy())
    assert answers == model(inputs).flatten().tolist()


def test_a_regression_of_several_numbers_gives_all_of_them(tmp_path):
    model, description = write_case(tmp_path, "two numbers")
    inputs = raw_inputs(description)
    answers = load(tmp_path).predict(inputs.byte().permute(0, 2, 3, 1).numpy())
    assert answers == model(inputs).tolist()
    assert {len(row) for row in answers} == {2}


def test_more_inputs_than_go_into_the_network_at_a_time(tmp_path):
    _, description = write_case(tmp_path, "one number")
    exported = load(tmp_path)
    inputs = raw_inputs(description, n=130).byte().permute(0, 2, 3, 1).numpy()
    answers = exported.predict(inputs)
    assert len(answers) == 130
    assert [answers[0], answers[129]] == pytest.approx([exported.predict(inputs[i : i + 1])[0] for i in (0, 129)])


def test_the_answers_do_not_depend_on_the_random_numbers_of_the_process(tmp_path):
    write_case(tmp_path, "text transformer")
    torch.manual_seed(5)
    first = load(tmp_path).predict(TEXTS)
    torch.manual_seed(6)
    assert load(tmp_path).predict(TEXTS) == first


def test_predicting_needs_neither_nni_nor_data_nor_scikit_learn(tmp_path):
    write_case(tmp_path, "digits")
    code = f"""
import sys
for name in ("nni", "sklearn", "timm", "onnx"):
    sys.modules[name] = None  # an import of it fails
import numpy
from nni_dream.automl import load
print(load({str(tmp_path)!r}).predict(numpy.zeros((1, 8, 8), "uint8"))[0].label)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert answer.stdout.strip() in [str(digit) for digit in range(10)], answer.stderr


def test_importing_the_package_does_not_import_torch():
    code = "import sys, nni_dream.automl; print('torch' in sys.modules, nni_dream.automl.load.__name__)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == ["False", "load"]


def test_word_vectors_from_a_file_travel_with_the_model(tmp_path):
    """Their length is the file's and in no parameter; the file itself is not needed any more."""
    vectors = tmp_path / "weights"
    vectors.mkdir()
    (vectors / "glove.txt").write_text("".join(f"w{i} {i}.0 1.0 -0.5\n" for i in range(5)))
    settings = read_settings("text_classification", {"block_type": {"_name": "vanilla", "pretraining": "glove"}})
    description = describe_case("text vanilla")
    source = WeightsSource("tiny", vectors)
    for parameters in ({"pretraining": "glove"}, {"pretraining": "glove", "embedding_dim": 32}):
        settings = read_settings("text_classification", {"block_type": {"_name": "vanilla", **parameters}})
        described = type(description)(**{**vars(description), "parameters": settings.to_nested()})
        model = described.build(source).eval()
        folder = tmp_path / str(len(parameters))
        folder.mkdir()
        write_model(folder, model.state_dict(), described)
        network, read = read_model(folder)
        assert isinstance(network.backbone[0], WordVectors)
        assert torch.equal(network(raw_inputs(described)), model(raw_inputs(described)))
        assert read.parameters == settings.to_nested()


def test_pretrained_weights_are_not_needed_again(tmp_path):
    description = describe_case("resnet")
    pretrained = {"_name": "resnet", "version": "resnet50", "pretrained": {"_name": "true"}}
    settings = read_settings("image_classification", {"block_type": pretrained})
    plain = read_settings("image_classification", {"block_type": {**pretrained, "pretrained": "false"}})
    described = type(description)(**{**vars(description), "parameters": settings.to_nested()})
    model = type(description)(**{**vars(description), "parameters": plain.to_nested()}).build(WeightsSource("tiny"))
    write_model(tmp_path, model.state_dict(), described)
    network, read = read_model(tmp_path)
    assert torch.equal(network(raw_inputs(described)), model.eval()(raw_inputs(described)))
    assert read.parameters == settings.to_nested()  # the card tells the truth


def test_tensors_that_share_memory_are_written_each_by_itself(tmp_path):
    """safetensors refuses them, and a slice would drag its whole storage along."""
    base = torch.arange(12.0).view(3, 4)
    state = {"one": base, "tied": base, "column": base[:, 1], "turned": base.t()}
    write_model(tmp_path, state, describe_case("vanilla"))
    read = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_tied_layers_stay_equal(tmp_path):
    layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    layers[1].weight = layers[0].weight
    write_model(tmp_path, layers.state_dict(), describe_case("vanilla"))
    read = load_file(tmp_path / "weights.safetensors")
    assert torch.equal(read["0.weight"], read["1.weight"])


def test_the_folder_says_nothing_of_the_machine(tmp_path):
    write_case(tmp_path)
    assert "/home/me" not in (tmp_path / "model.json").read_text()


def test_weights_hold_no_code(tmp_path):
    """The kept model is torch's own format; what is given away is not."""
    model, description = write_case(tmp_path)
    save_model(tmp_path / "kept", model, description)
    assert (tmp_path / "kept" / "best_model.pt").is_file()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["model.json", "weights.safetensors"]


def change(path, **fields):
    written = json.loads(path.read_text())
    path.write_text(json.dumps({**written, **fields}))


class TestBrokenFolders:
    """One error that names the file, whatever is wrong."""

    @pytest.fixture
    def folder(self, tmp_path):
        write_case(tmp_path / "model")
        return tmp_path / "model"

    def test_no_folder(self, tmp_path):
        with pytest.raises(
            ExportedModelError, match=r"absent: is no folder; give one that `nni-dream export` has writ"
        ):
            load(tmp_path / "absent")

    def test_another_folder(self, tmp_path):
        with pytest.raises(
            ExportedModelError, match=r"model\.json: cannot be read: No such file or directory; give an"
        ):
            load(tmp_path)

    def test_no_weights(self, folder):
        (folder / "weights.safetensors").unlink()
        with pytest.raises(
            ExportedModelError, match=r"weights\.safetensors: cannot be read: No such file .*export the"
        ):
            load(folder)

    @pytest.mark.parametrize("keep", [0, 4, 1000])
    def test_weights_cut_short(self, folder, keep):
        path = folder / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(
            ExportedModelError, match=r"weights\.safetensors: is broken: .*; copy or export the model ag"
        ):
            load(folder)

    def test_weights_of_another_network(self, folder):
        save_file({"classifier.weight": torch.zeros(3, 7)}, folder / "weights.safetensors")
        with pytest.raises(ExportedModelError, match=r"weights\.safetensors and model\.json do not fit: Error\(s\) in"):
            load(folder)

    def test_weights_of_a_text_network(self, folder):
        save_file({"backbone.0.table.vectors": torch.zeros(3)}, folder / "weights.safetensors")
        with pytest.raises(ExportedModelError, match="do not fit"):
            load(folder)

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\x00", "[" * 100_000])
    def test_no_json_of_ours(self, folder, text):
        (folder / "model.json").write_text(text)
        with pytest.raises(ExportedModelError, match=r"model\.json: is not what `nni-dream export` writes: "):
            load(folder)

    def test_bytes_that_are_no_text(self, folder):
        (folder / "model.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ExportedModelError, match=r"model\.json: is not what `nni-dream export` writes: "):
            load(folder)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"format": 2}, r"format is 2, this version reads 1"),
            ({"scale": "huge"}, r"scale: Input should be 'tiny', 'small' or 'full'"),
            ({"n_outputs": 4}, r"n_outputs: is 4, with 3 classes"),
            ({"n_outputs": 0, "classes": None}, r"n_outputs: is 0, with None classes"),
            ({"classes": [1, 2, 3]}, r"classes\.0: Input should be a valid string"),
            ({"image_shape": [3, 20]}, r"image_shape: is \[3, 20\], expected channels, height and width, 1 or more"),
            ({"image_shape": [3, 0, 24]}, r"image_shape: is \[3, 0, 24\], expected"),
            ({"image_shape": None}, r"image_shape: is \[\], expected"),
            ({"channel_means": [1.0]}, r"channel_means: there are 1, and 3 deviations, for 3 channels"),
            ({"target_means": [1.0]}, r"target_means: there are 1, and 0 deviations, for 3 outputs"),
            ({"target_means": [1.0], "target_deviations": [2.0]}, r"target_means: there are 1, and 1 dev.*, for 3 out"),
            ({"task": "text_classification"}, r"terms: there are 0 with 0 weights, expected as many, 1 or more"),
            ({"color": "red"}, r"color: Unexpected keyword argument"),
        ],
    )
    def test_wrong_fields(self, folder, fields, words):
        change(folder / "model.json", **fields)
        with pytest.raises(ExportedModelError, match=rf"model\.json: is not what `nni-dream export` writes: {words}"):
            load(folder)

    def test_a_missing_field(self, folder):
        written = json.loads((folder / "model.json").read_text())
        del written["task"]
        (folder / "model.json").write_text(json.dumps(written))
        with pytest.raises(ExportedModelError, match=r"writes: task: Field required"):
            load(folder)

    def test_parameters_of_no_block(self, folder):
        change(folder / "model.json", parameters={"block_type": "unheard"})
        with pytest.raises(ExportedModelError, match=r"do not fit: parameter 'block_type' is .*unheard"):
            load(folder)


@pytest.mark.parametrize("folder", [None, b"x", 3])
def test_what_is_no_path_is_named(folder):
    with pytest.raises(ExportedModelError, match=rf"^folder is {folder!r}, expected a path: str or Path$"):
        load(folder)
