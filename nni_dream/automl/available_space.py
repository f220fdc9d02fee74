"""What of a search space can be had with the pretrained weights that are there."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from nni_dream.automl.weights import VECTORS, WeightsError, WeightsSource

__all__ = ["AvailableSpace", "available_space"]


class AvailableSpace(NamedTuple):
    space: dict[str, Any]  # without what cannot be had
    notes: list[str]  # a sentence for each group of actions that was taken out; for the user, once


def available_space(space: dict[str, Any], source: WeightsSource) -> AvailableSpace:
    """Take the actions out of a search space that need weights which are not there.

    Where some versions of a block have weights, the others go; where none has, ``pretrained = true`` goes.

    Args:
        space: In NNI's format, one of experiment_configs/spaces.  Not modified.

    Raises:
        WeightsError: If every option of a parameter needs weights that are not there.
    """
    space, notes = copy.deepcopy(space), []
    for block in space.get("block_type", {}).get("_value", ()):
        if not isinstance(block, dict):
            continue
        if "pretrained" in block:
            notes += _take_out_backbones(block, source)
        if "pretraining" in block:
            notes += _take_out_vectors(block, source)
    return AvailableSpace(space, notes)


def _take_out_backbones(block: dict[str, Any], source: WeightsSource) -> list[str]:
    name, pretrained = block["_name"], block["pretrained"]
    if not any(_says_true(value) for value in pretrained["_value"]):
        return []
    versions = block["version"]["_value"] if "version" in block else [name]
    missing = [version for version in versions if source.find_backbone(version) is None]
    if not missing:
        return []
    if len(missing) < len(versions):
        block["version"]["_value"] = [version for version in versions if version not in missing]
        return [f"{name}: no weights for {', '.join(missing)}: taken out of the search"]
    kept = [value for value in pretrained["_value"] if not _says_true(value)]
    if not kept:
        raise WeightsError(
            f"parameter 'block_type.pretrained' of {name} can only be true, which needs the weights of "
            f"{' or '.join(missing)}: {source.searched()}; without them it needs the option false"
        )
    pretrained["_value"] = kept
    way_out = "--download fetches them" if source.scale == "full" else "nni-dream pretrain makes them"
    return [
        f"{name}: no weights at hand: pretrained = true and what stands under it are taken out of the search; {way_out}"
    ]


def _take_out_vectors(block: dict[str, Any], source: WeightsSource) -> list[str]:
    values = block["pretraining"]["_value"]
    missing = [value for value in values if value in VECTORS and source.find_vectors(value) is None]
    kept = [value for value in values if value not in missing]
    if not kept:
        raise WeightsError(
            f"parameter 'block_type.pretraining' of {block['_name']} can only be {' or '.join(missing)}, which needs "
            f"word vectors: {source.not_in_folder()}; without them it needs the option random or none"
        )
    block["pretraining"]["_value"] = kept
    if not missing:
        return []
    return [f"{block['_name']}: no word vectors of {', '.join(missing)} at hand: taken out of the search"]


def _says_true(value: Any) -> bool:
    return str(value["_name"] if isinstance(value, dict) else value).lower() == "true"
