"""From a trial's folder to a folder to take away: as a whole or not at all, with true words about it."""

import hashlib
import json
import re
import runpy
from dataclasses import replace

import numpy as np
import pytest
import torch
from automl.exported_models import IMAGE_SHAPE, TEXTS, build_case, describe_case, random_images
from PIL import Image

from nni_dream.automl import exporting, load
from nni_dream.automl.digits import load_digits_split
from nni_dream.automl.evaluation import evaluate
from nni_dream.automl.exported_card import Repair, SearchFacts
from nni_dream.automl.exported_onnx import TOLERANCE, OnnxError
from nni_dream.automl.exporting import ExportError, export_model
from nni_dream.automl.kept_model import KeptModelError, load_model, save_model
from nni_dream.automl.samples import describe
from nni_dream.automl.task import load_data
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.weights import WeightsSource

FACTS = SearchFacts(
    experiment="abc",
    trial=4,
    rank=1,
    n_trials=15,
    n_epochs=12,
    score=0.75,
    seed=1,
    repairs=(
        Repair(0, None, "initial configuration"),
        Repair(2, 0.5, "OA-SC-DG-NW: block_type=xception"),
        Repair(4, 0.75, 'EA-NC-NG-NW: a|b="x"'),
    ),
    version="0.1.0",
)


def keep_case(folder, name="digits", **changes):
    model, description = build_case(name)
    save_model(folder, model, replace(description, **changes))
    return model, description


def export(folder, name="digits", *, facts=FACTS, target="my_model", **options):
    keep_case(folder / "kept", name)
    return export_model(folder / "kept", folder / target, facts, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_and_nothing_beside_it(tmp_path):
    export(tmp_path)
    assert names(tmp_path / "my_model") == ["README.md", "card.json", "model.json", "weights.safetensors"]
    assert names(tmp_path) == ["kept", "my_model"]
    assert (tmp_path / "my_model").stat().st_mode == (tmp_path / "kept").stat().st_mode  # others may read it, too
    assert len({path.stat().st_mode for path in (tmp_path / "my_model").iterdir()}) == 1


def test_folders_above_are_made(tmp_path):
    export(tmp_path, target="models/best/1")
    assert "card.json" in names(tmp_path / "models" / "best" / "1")


def test_the_test_score_is_that_of_the_test_samples(tmp_path):
    model, _ = build_case("digits")
    expected = evaluate(model, load_digits_split(normalize=False).test).accuracy
    card, test = export(tmp_path)
    assert (test.score, test.n_samples, test.reason) == (pytest.approx(expected), 347, None)
    assert card["test"] == {"score": test.score, "n_samples": 347}
    assert card["validation"] == {"score": 0.75}
    page = (tmp_path / "my_model" / "README.md").read_text()
    assert f"| test | {expected:.4f} |" in page
    assert "The 347 test samples were scored at the export, with these weights; no decision" in page


def save_arrays(folder, splits):
    """Users' own arrays, and the arguments of `load_dataset` that find them."""
    folder.mkdir(exist_ok=True)
    arrays = {}
    for name in ("train", "validation", "test"):
        part = getattr(splits, name)
        arrays[f"x_{name}"] = part.images.permute(0, 2, 3, 1).numpy()
        arrays[f"y_{name}"] = part.targets.numpy()
    np.savez(folder / "data.npz", **arrays)
    return {"name": "arrays", "data_dir": str(folder), "task": splits.task}


def test_a_regression_is_scored_by_its_squared_error(tmp_path):
    splits = random_images("image_regression", shape=IMAGE_SHAPE)
    data = save_arrays(tmp_path / "data", splits)
    model, description = build_case("one number")
    save_model(tmp_path / "kept", model, replace(description, data=data))
    card, test = export_model(tmp_path / "kept", tmp_path / "out", replace(FACTS, score=0.5))
    with torch.inference_mode():
        outputs = model(splits.test.images.float()).flatten()
    assert card["metric"] == "mean squared error"
    assert test.score == pytest.approx(float((outputs - splits.test.targets).square().mean()), rel=1e-5)
    assert "| samples | mean squared error |" in (tmp_path / "out" / "README.md").read_text()


def test_the_data_may_have_moved(tmp_path):
    splits = random_images("image_regression", shape=IMAGE_SHAPE)
    data = save_arrays(tmp_path / "data", splits)
    model, description = build_case("one number")
    save_model(tmp_path / "kept", model, replace(description, data={**data, "data_dir": "/nowhere"}))
    _, test = export_model(tmp_path / "kept", tmp_path / "one", FACTS)
    assert "/nowhere" in test.detail
    _, test = export_model(tmp_path / "kept", tmp_path / "other", FACTS, data_dir=tmp_path / "data")
    assert test.n_samples == len(splits.test)


def test_without_the_data_the_card_says_why_there_is_no_test_score(tmp_path):
    keep_case(tmp_path / "kept", "text vanilla", data={"name": "trec", "data_dir": "/home/me", "download": True})
    card, test = export_model(tmp_path / "kept", tmp_path / "out", FACTS)
    assert card["test"] == {"score": None, "reason": "the data (trec) were not there at the export"}
    assert "/home/me" in test.detail
    page = (tmp_path / "out" / "README.md").read_text()
    assert "No score on test: the data (trec) were not there at the export." in page
    assert "| test |" not in page
    for path in (tmp_path / "out").glob("*.*"):
        assert b"/home/me" not in path.read_bytes(), path


def test_broken_data_are_another_reason(tmp_path):
    (tmp_path / "data.npz").write_bytes(b"no arrays")
    data = {"name": "arrays", "data_dir": str(tmp_path / "data.npz"), "task": "image_classification"}
    keep_case(tmp_path / "kept", "vanilla", data=data)
    card, test = export_model(tmp_path / "kept", tmp_path / "out", FACTS)
    assert card["test"]["reason"] == "the data (arrays) could not be used at the export"
    assert "data.npz" in test.detail


def test_data_of_other_classes_give_no_test_score(tmp_path):
    splits = random_images("image_classification", shape=IMAGE_SHAPE)
    model, description = build_case("vanilla")
    data = save_arrays(tmp_path / "data", splits)
    others = [f"class {number}" for number in range(description.n_outputs)]
    save_model(tmp_path / "kept", model, replace(description, data=data, classes=others))
    card, test = export_model(tmp_path / "kept", tmp_path / "out", FACTS)
    assert card["test"]["reason"] == "the data (arrays) could not be used at the export"
    assert "the model was trained on 'class 0', 'class 1'" in test.detail


def test_numbers_of_another_width_give_no_test_score(tmp_path):
    splits = random_images("image_regression", shape=IMAGE_SHAPE)
    model, description = build_case("one number")
    data = save_arrays(tmp_path / "data", splits)
    other = replace(description, data=data)
    save_model(tmp_path / "kept", model, other)
    np.savez(
        tmp_path / "data" / "data.npz",
        **{
            name: np.repeat(array[:, None], 2, axis=1) if name.startswith("y") else array
            for name, array in np.load(tmp_path / "data" / "data.npz").items()
        },
    )
    _, test = export_model(tmp_path / "kept", tmp_path / "out", FACTS)
    assert test.detail == "arrays: has 2 numbers to predict, the model has 1"


def test_images_of_other_channels_give_no_test_score(tmp_path):
    """torch would take a grey image for three channels that are alike."""
    model, description = build_case("vanilla")
    data = save_arrays(tmp_path / "data", random_images(shape=(1, *IMAGE_SHAPE[1:])))
    save_model(tmp_path / "kept", model, replace(description, data=data, classes=["0", "1", "2"]))
    _, test = export_model(tmp_path / "kept", tmp_path / "out", FACTS)
    assert test.detail == "arrays: images have 1 channels, the model was trained on 3"


def test_images_of_another_size_give_no_test_score(tmp_path):
    """Asked for them, the model would resize them first: the card's score would be of another model."""
    model, description = build_case("vanilla")
    channels, height, width = IMAGE_SHAPE
    data = save_arrays(tmp_path / "data", random_images(shape=(channels, 2 * height, width)))
    save_model(tmp_path / "kept", model, replace(description, data=data, classes=["0", "1", "2"]))
    _, test = export_model(tmp_path / "kept", tmp_path / "out", FACTS)
    assert test.detail == "arrays: images are 24x40, the model was trained on 24x20"


@pytest.mark.parametrize(("factor", "image_size"), [(1, None), (16, None), (16, 6), (255, None)])
def test_pictures_and_arrays_are_answered_alike(factor, image_size, tmp_path):
    """Whatever range the arrays have in which the training data were given."""
    generator = np.random.default_rng(0)
    shapes = generator.integers(2, size=(40, 8, 9, 3), dtype=np.uint8)  # black and white: exact in every range
    np.savez(tmp_path / "data.npz", x=shapes * factor, y=np.arange(40) % 2)
    data = {
        "name": "arrays",
        "data_dir": str(tmp_path / "data.npz"),
        "task": "image_classification",
        "image_size": image_size,
    }
    settings = read_settings("image_classification", {"block_type": "vanilla", "normalize": False})
    description = describe(load_data(data), settings, scale="tiny", data_arguments=data)
    save_model(tmp_path / "kept", description.build(WeightsSource("tiny")), description)
    export_model(tmp_path / "kept", tmp_path / "out", FACTS, with_test=False)
    model = load(tmp_path / "out")
    pictures = [Image.fromarray(image * 255) for image in shapes]
    prepared = [model.prepare(inputs).int() for inputs in (pictures, shapes * factor)]
    assert (prepared[0] - prepared[1]).abs().max() <= (0 if image_size is None else 1)
    assert prepared[1].max() <= factor
    page = (tmp_path / "out" / "README.md").read_text()
    assert f"arrays of uint8 from 0 to {factor}, " in page


def test_a_test_score_that_is_no_number_is_told(tmp_path):
    splits = random_images("image_regression", shape=IMAGE_SHAPE)
    model, description = build_case("one number")
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    save_model(tmp_path / "kept", model, replace(description, data=save_arrays(tmp_path / "data", splits)))
    card, _ = export_model(tmp_path / "kept", tmp_path / "out", FACTS)
    assert card["test"] == {"score": None, "reason": "it is nan"}


def test_the_test_score_is_not_computed_where_nobody_wants_it(tmp_path):
    card, test = export(tmp_path, with_test=False)
    assert (test.score, card["test"]["reason"]) == (None, "it was not asked for")


def test_the_card_is_true(tmp_path):
    card, _ = export(tmp_path)
    folder = tmp_path / "my_model"
    assert json.loads((folder / "card.json").read_text()) == card
    description = describe_case("digits")
    n_parameters = sum(parameter.numel() for parameter in load(folder).network.parameters())
    sha256 = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert card["weights"] == {"file": "weights.safetensors", "n_parameters": n_parameters, "sha256": sha256}
    assert card["training"]["parameters"] == description.parameters
    assert card["training"]["options"] == {"epochs": 2, "patience": 10, "seed": 0}
    assert card["search"]["repairs"][1] == {"trial": 2, "score": 0.5, "what": "OA-SC-DG-NW: block_type=xception"}
    assert card["versions"] == {"nni_dream": "0.1.0", "torch": torch.__version__}
    assert card["onnx"] is None


def test_the_page_tells_the_way_and_the_scores(tmp_path):
    export(tmp_path)
    page = (tmp_path / "my_model" / "README.md").read_text()
    assert page.startswith("# Image classifier, classes: 10\n")
    assert "Trial 4 of the experiment `abc`, the best of 15 trials by the score on the validation samples." in page
    assert "| 0 | - | initial configuration |" in page
    assert "| 2 | 0.5000 | OA-SC-DG-NW: block_type=xception |" in page
    assert '| 4 | 0.7500 | EA-NC-NG-NW: a\\|b="x" |' in page
    assert "| validation | 0.7500 |" in page
    assert "12 epochs; the weights are those after the best of them" in page
    assert "arrays of uint8 from 0 to 16, (N, height, width); pictures become grey" in page
    assert "None" not in page


def test_another_than_the_best_trial_is_told(tmp_path):
    export(tmp_path, facts=replace(FACTS, rank=3))
    assert "number 3 of 15 trials" in (tmp_path / "my_model" / "README.md").read_text()


def test_many_classes_are_counted_and_strange_names_kept(tmp_path):
    classes = [f"`class` {i}" for i in range(3)]
    keep_case(tmp_path / "kept", "vanilla", classes=classes)
    export_model(tmp_path / "kept", tmp_path / "few", FACTS)
    assert f"`` {json.dumps(classes)} ``" in (tmp_path / "few" / "README.md").read_text()
    splits = random_images()
    model, description = build_case("vanilla")
    many = replace(description, n_outputs=51, classes=[str(i) for i in range(51)])
    model.classifier = torch.nn.Linear(model.classifier.in_features, 51)
    save_model(tmp_path / "kept", model, many)
    export_model(tmp_path / "kept", tmp_path / "many", FACTS)
    assert "The 51 classes are in `model.json`." in (tmp_path / "many" / "README.md").read_text()
    assert splits.classes is not None


@pytest.mark.parametrize("name", ["digits", "text ngram", "one number"])
def test_the_example_on_the_page_runs(tmp_path, monkeypatch, capsys, name):
    export(tmp_path, name, with_test=False)
    (example,) = re.findall(r"```python\n(.*?)```", (tmp_path / "my_model" / "README.md").read_text(), re.DOTALL)
    for picture in ("a.png", "b.png"):
        Image.new("RGB", (30, 40), (200, 10, 10)).save(tmp_path / picture)
    (tmp_path / "example.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py")
    assert len(capsys.readouterr().out.splitlines()) == 2


class TestTargets:
    def test_a_folder_that_is_there_is_never_changed(self, tmp_path):
        (tmp_path / "my_model").mkdir()
        (tmp_path / "my_model" / "mine.txt").write_text("mine")
        with pytest.raises(
            ExportError, match=r"my_model: is there already; give another folder, or remove this one fir"
        ):
            export(tmp_path)
        assert names(tmp_path / "my_model") == ["mine.txt"]

    @pytest.mark.parametrize("make", ["file", "empty folder", "dangling link"])
    def test_nor_is_anything_else(self, tmp_path, make):
        target = tmp_path / "my_model"
        {"file": target.touch, "empty folder": target.mkdir, "dangling link": lambda: target.symlink_to("x")}[make]()
        with pytest.raises(ExportError, match="is there already"):
            export(tmp_path)
        assert names(tmp_path) == ["kept", "my_model"]

    def test_a_target_below_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            export(tmp_path, target="file/my_model")

    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
    @pytest.mark.parametrize("step", ["write_model", "_score_on_test", "page_of"])
    def test_an_end_in_the_middle_leaves_nothing(self, tmp_path, monkeypatch, step, error):
        """Ctrl-C, or a full disk."""

        def fail(*_args, **_options):
            raise error

        monkeypatch.setattr(exporting, step, fail)
        with pytest.raises((KeyboardInterrupt, OSError)):
            export(tmp_path)
        assert names(tmp_path) == ["kept"]

    def test_a_target_that_appears_meanwhile_is_left_alone(self, tmp_path, monkeypatch):
        def interfere(*_args):
            (tmp_path / "my_model").mkdir()
            (tmp_path / "my_model" / "other.txt").touch()
            return "page"

        monkeypatch.setattr(exporting, "page_of", interfere)
        with pytest.raises(OSError, match="my_model"):
            export(tmp_path)
        assert names(tmp_path) == ["kept", "my_model"]
        assert names(tmp_path / "my_model") == ["other.txt"]

    def test_no_kept_model(self, tmp_path):
        with pytest.raises(KeptModelError, match="no model of a trial"):
            export_model(tmp_path, tmp_path / "out", FACTS)
        assert names(tmp_path) == []

    def test_kept_weights_cut_short(self, tmp_path):
        keep_case(tmp_path / "kept")
        weights = tmp_path / "kept" / "best_model.pt"
        for n_bytes in (0, 1000):
            weights.write_bytes(weights.read_bytes()[:n_bytes] or b"")
            with pytest.raises(KeptModelError, match=r"best_model\.pt and best_parameters\.json do not fit: "):
                export_model(tmp_path / "kept", tmp_path / "out", FACTS)

    def test_kept_weights_with_a_wrong_byte(self, tmp_path):
        keep_case(tmp_path / "kept")
        weights = tmp_path / "kept" / "best_model.pt"
        weights.write_bytes(weights.read_bytes().replace(b"OrderedDict\nq\0", b"OrderedDict\nq\1"))  # KeyError
        with pytest.raises(KeptModelError, match=r"do not fit: torch cannot read best_model\.pt: "):
            export_model(tmp_path / "kept", tmp_path / "out", FACTS)


def test_onnx_on_request(tmp_path):
    card, _ = export(tmp_path, "one number", with_onnx=True, with_test=False)
    assert "model.onnx" in names(tmp_path / "my_model")
    assert card["onnx"]["tolerance"] == TOLERANCE
    assert 0 <= card["onnx"]["largest_difference"] <= TOLERANCE
    page = (tmp_path / "my_model" / "README.md").read_text()
    assert "`pixels`, uint8 (N, 3, 20, 24), from 0 to 255; it gives `numbers`." in page
    assert "1e-04 was allowed" in page


def test_an_onnx_file_that_answers_differently_is_not_exported(tmp_path, monkeypatch):
    monkeypatch.setattr("nni_dream.automl.exported_onnx.TOLERANCE", -1.0)
    with pytest.raises(OnnxError, match="answers differently"):
        export(tmp_path, "one number", with_onnx=True, with_test=False)
    assert names(tmp_path) == ["kept"]


def test_texts_are_told_as_texts(tmp_path):
    export(tmp_path, "text vanilla", with_test=False)
    page = (tmp_path / "my_model" / "README.md").read_text()
    assert page.startswith("# Text classifier, classes: 3\n")
    assert "Inputs: strings." in page
    assert load(tmp_path / "my_model").predict(TEXTS)[0].label in ("cat", "dog", "cow")


def test_images_that_were_added_after_the_training_give_no_test_score(tmp_path):
    generator = np.random.default_rng(0)
    paths = [tmp_path / "images" / name / f"{i}.png" for name in ("a", "b") for i in range(20)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(256, size=(8, 8, 3), dtype=np.uint8)).save(path)
    data = {"name": "folder", "data_dir": str(tmp_path / "images"), "task": "image_classification"}
    settings = read_settings("image_classification", {"block_type": "vanilla"})
    description = describe(load_data(data), settings, scale="tiny", data_arguments=data)
    save_model(tmp_path / "kept", description.build(WeightsSource("tiny")), description)
    assert export_model(tmp_path / "kept", tmp_path / "before", FACTS).test.n_samples == 4
    Image.fromarray(generator.integers(256, size=(8, 8, 3), dtype=np.uint8)).save(paths[0].with_name("20.png"))
    card, test = export_model(tmp_path / "kept", tmp_path / "after", FACTS)
    assert card["test"]["reason"] == "the data (folder) could not be used at the export"
    assert "has changed since the training" in test.detail


def test_a_test_set_that_does_not_fit_into_memory_costs_the_score_alone(tmp_path, monkeypatch):
    def evaluate_nothing(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("nni_dream.automl.evaluation.evaluate", evaluate_nothing)
    keep_case(tmp_path / "kept", "digits")
    card, _ = export_model(tmp_path / "kept", tmp_path / "out", FACTS)
    assert card["test"]["reason"] == "memory ran out at the export"
    assert load(tmp_path / "out")


def test_a_save_that_fails_leaves_the_model_before_it_whole(tmp_path, monkeypatch):
    model, description = build_case("vanilla")
    save_model(tmp_path, model, description)

    def save_nothing(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", save_nothing)
    with pytest.raises(OSError, match="No space left"):
        save_model(tmp_path, model, replace(description, classes=list(reversed(description.classes))))
    assert load_model(tmp_path)[1] == description
