"""What a search does without pretrained weights."""

import copy

import pytest
from space_walk import read_space

from nni_dream.automl.available_space import available_space
from nni_dream.automl.weights import WeightsError, WeightsSource


def options(space, block, name):
    found = next(option for option in space["block_type"]["_value"] if option["_name"] == block)
    return [value["_name"] if isinstance(value, dict) else value for value in found[name]["_value"]]


def test_a_space_without_any_weights_keeps_what_needs_none(tmp_path):
    space = read_space("image_expanded")
    before = copy.deepcopy(space)
    available, notes = available_space(space, WeightsSource("tiny", tmp_path))
    assert space == before
    assert notes == [
        f"{block}: no weights at hand: pretrained = true and what stands under it are taken out of the search; "
        "nni-dream pretrain makes them"
        for block in ("resnet", "xception", "efficient")
    ]
    for block in ("resnet", "xception", "efficient"):
        assert options(available, block, "pretrained") == ["false"]
    assert options(available, "resnet", "version") == options(space, "resnet", "version")
    assert "two_step" not in str(available)
    assert available["optimizer"] == space["optimizer"]


def test_a_space_with_some_weights_keeps_those_versions(tmp_path):
    for version in ("resnet50", "resnet152_v2"):
        (tmp_path / f"tiny-{version}.safetensors").touch()
    available, notes = available_space(read_space("image"), WeightsSource("tiny", tmp_path))
    assert notes[0] == (
        "resnet: no weights for resnet101, resnet152, resnet50_v2, resnet101_v2: taken out of the search"
    )
    assert options(available, "resnet", "version") == ["resnet50", "resnet152_v2"]
    assert options(available, "resnet", "pretrained") == ["true", "false"]


def test_published_weights_are_looked_for_without_a_download(no_caches):
    _, notes = available_space(read_space("image_expanded"), WeightsSource("full"))
    assert len(notes) == 3


def test_word_vectors_that_are_not_there_are_taken_out(tmp_path):
    (tmp_path / "glove.txt").write_text("a 1 2\n")
    available, notes = available_space(read_space("text_expanded"), WeightsSource("tiny", tmp_path))
    assert notes == [
        f"{block}: no word vectors of fasttext, word2vec at hand: taken out of the search"
        for block in ("vanilla", "transformer")
    ]
    assert options(available, "vanilla", "pretraining") == ["random", "glove", "none"]


@pytest.mark.parametrize("name", ["digits"])
def test_a_space_that_needs_no_weights_stays_as_it_is(name):
    assert available_space(read_space(name), WeightsSource("tiny")) == (read_space(name), [])


def with_options(space, block, name, wanted):
    """The space with only these options of a block's parameter."""
    parameter = next(option for option in space["block_type"]["_value"] if option["_name"] == block)[name]
    parameter["_value"] = [
        value for value in parameter["_value"] if (value["_name"] if isinstance(value, dict) else value) in wanted
    ]
    return space


@pytest.mark.parametrize(
    ("scale", "way"),
    [
        ("tiny", r"not in /.*; nni-dream pretrain makes them"),
        ("full", r"not in /.*, not in timm's cache; --download fetches them"),
    ],
)
def test_a_space_that_can_only_be_pretrained_is_refused_without_weights(no_caches, scale, way):
    """Taking out what cannot be had would leave a choice without any option, for which the file would be blamed."""
    space = with_options(read_space("image"), "efficient", "pretrained", ["true"])
    space = with_options(space, "efficient", "version", ["b0", "b3"])
    needed = r"'block_type\.pretrained' of efficient can only be true, which needs the weights of b0 or b3"
    with pytest.raises(WeightsError, match=rf"^parameter {needed}: {way}; without them it needs the option false$"):
        available_space(space, WeightsSource(scale, no_caches))


def test_a_space_that_can_only_be_pretrained_keeps_the_versions_that_are_there(tmp_path):
    (tmp_path / "tiny-resnet101.safetensors").touch()
    space = with_options(read_space("image"), "resnet", "pretrained", ["true"])
    available, _ = available_space(space, WeightsSource("tiny", tmp_path))
    assert (options(available, "resnet", "pretrained"), options(available, "resnet", "version")) == (
        ["true"],
        ["resnet101"],
    )


def test_a_space_that_has_only_word_vectors_is_refused_without_them():
    space = with_options(read_space("text"), "vanilla", "pretraining", ["glove"])
    with pytest.raises(
        WeightsError,
        match=r"^parameter 'block_type\.pretraining' of vanilla can only be glove, which needs word vectors: "
        r"no --weights-dir was given; without them it needs the option random or none$",
    ):
        available_space(space, WeightsSource("tiny"))
