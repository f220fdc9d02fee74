"""Weights that others have trained: where they are, and how those of our own backbones are read and written.

Looked for in a folder of the user first, then in timm's own caches; downloaded only where that was asked for.
At full scale the file in the folder is ``<timm's name>.safetensors`` (``.pth``, ``.pt``, ``.bin``), below it
``<scale>-<version>``, such as ``tiny-resnet50.safetensors``, which ``nni-dream pretrain`` makes.  Vectors of words are
``glove.txt``, ``fasttext.txt`` and ``word2vec.txt``: a word and its numbers a line.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nni_dream.automl.scales import Scale
from nni_dream.automl.torch_files import TorchFileError, read_torch_file

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["TIMM_NAMES", "VECTORS", "WeightsError", "WeightsSource", "load_own_weights", "save_own_weights"]

_logger = logging.getLogger(__name__)

TIMM_NAMES: Final = {
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "resnet152": "resnet152",
    "resnet50_v2": "resnetv2_50",
    "resnet101_v2": "resnetv2_101",
    "resnet152_v2": "resnetv2_152",
    **{f"b{i}": f"tf_efficientnet_b{i}" for i in range(8)},
    "xception": "legacy_xception",
}
VECTORS: Final = ("glove", "fasttext", "word2vec")
SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin")
HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")  # as timm publishes them


class WeightsError(ValueError):
    """Pretrained weights are not there, or do not fit."""


@dataclass(frozen=True)
class WeightsSource:
    """Where weights may come from.

    Args:
        folder: Of the user; ``None``: only timm's caches are looked into.
        scale: Of the networks.
        download: Whether timm's weights may be fetched from the net.
    """

    scale: Scale
    folder: Path | None = None
    download: bool = False

    def find_backbone(self, version: str) -> Path | None:
        """Return the file with the weights of a version, or ``None``; at full scale it may be downloaded."""
        name = _file_name(self.scale, version)
        own = [] if self.folder is None else [self.folder / f"{name}{suffix}" for suffix in SUFFIXES]
        found = next((path for path in own if path.is_file()), None)
        return _find_published(name, download=self.download) if found is None and self.scale == "full" else found

    def backbone(self, version: str) -> Path:
        """Return the file with the weights of a version.

        Raises:
            WeightsError: If there is none.
        """
        path = self.find_backbone(version)
        if path is None:
            name = _file_name(self.scale, version)
            raise WeightsError(f"pretrained = true needs the weights {name}: {self.searched()}")
        return path

    def find_vectors(self, name: str) -> Path | None:
        """Return the file with the word vectors of this name, or ``None``."""
        path = None if self.folder is None else self.folder / f"{name}.txt"
        return path if path is not None and path.is_file() else None

    def vectors(self, name: str) -> Path:
        """Return the file with the word vectors of this name.

        Raises:
            WeightsError: If there is none.
        """
        path = self.find_vectors(name)
        if path is None:
            where = "no --weights-dir was given" if self.folder is None else f"{self.folder / name}.txt is not there"
            raise WeightsError(f"pretraining = {name} needs word vectors: {where}")
        return path

    def not_in_folder(self) -> str:
        """Return why the user's folder did not help, for a message."""
        return "no --weights-dir was given" if self.folder is None else f"not in {self.folder}"

    def searched(self) -> str:
        """Return where a backbone's weights were looked for, and the way to them, for a message."""
        if self.scale != "full":
            return f"{self.not_in_folder()}; nni-dream pretrain makes them"
        return f"{self.not_in_folder()}, not in timm's cache" + ("" if self.download else "; --download fetches them")


def _file_name(scale: Scale, version: str) -> str:
    """Return the name, without suffix, of the file with the weights of a version; at full scale it is timm's."""
    return TIMM_NAMES[version] if scale == "full" else f"{scale}-{version}"


def _find_published(name: str, *, download: bool) -> Path | None:
    """Return timm's own file of these weights from its caches, or from the net if that is wanted."""
    import torch
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    from nni_dream.torchvision_compatibility import ensure_torchvision

    ensure_torchvision()
    from timm.models import get_pretrained_cfg

    published = get_pretrained_cfg(name)
    if published is None:
        return None
    hub, url = published.hf_hub_id, published.url
    cached = [try_to_load_from_cache(hub, file) for file in HUB_FILES] if hub else []
    for path in cached:
        if isinstance(path, str):
            return Path(path)
    kept = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2]) if isinstance(url, str) else None
    if kept is not None and kept.is_file():
        return kept
    if not download:
        return None
    try:
        if hub:
            return Path(hf_hub_download(hub, HUB_FILES[0]))
        if kept is not None and isinstance(url, str):
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(kept), progress=False)
            return kept
    except (OSError, RuntimeError, ValueError) as error:  # what the hub's and torch's downloads raise
        _logger.warning("weights %s cannot be downloaded: %s", name, str(error).partition("\n")[0])
    return None


def load_own_weights(backbone: nn.Module, path: Path) -> None:
    """Fill one of our backbones.

    Where the weights were trained on images of another number of channels, the input layer gets their mean over the
    channels, scaled so that its outputs keep their size; as timm does it for published networks.

    Raises:
        WeightsError: If the file cannot be read, or is of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else read_torch_file(path)
        _fit_channels(state, backbone)
        backbone.load_state_dict(state)
    except (TorchFileError, SafetensorError, RuntimeError, OSError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path}: are not weights of this backbone: {reason}") from error


def _fit_channels(state: dict[str, Tensor], backbone: nn.Module) -> None:
    """Bring the first convolution's weight, (F, C, h, w), to the channels that the backbone takes."""
    name, weight = next((name, weight) for name, weight in backbone.named_parameters() if weight.ndim == 4)
    given, n_channels = state.get(name), weight.shape[1]
    if given is None or given.ndim != 4 or given.shape[1] in (0, n_channels):
        return
    factor = given.shape[1] / n_channels
    state[name] = given.mean(dim=1, keepdim=True).repeat(1, n_channels, 1, 1) * factor


def save_own_weights(
    backbone: nn.Module, folder: Path, *, scale: Scale, version: str, origin: Mapping[str, object] | None = None
) -> Path:
    """Write a trained backbone where `WeightsSource` finds it, and return the file; it is there as a whole or not.

    Args:
        origin: Where the weights come from, such as the data; goes into the file's metadata, as text.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_file_name(scale, version)}.safetensors"
    draft = path.with_suffix(".draft")
    told = {name: str(value) for name, value in (origin or {}).items()}
    save_file({name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}, draft, metadata=told)
    draft.replace(path)
    return path
