"""The models of a trial on texts: convolutions or a Transformer over word vectors, or term frequencies.

AutoKeras's `TextBlock`, with the dense block and the head that follow it; Jin, Song and Hu, "Auto-Keras: An Efficient
Neural Architecture Search System", KDD 2019, https://arxiv.org/abs/1806.10282.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_dream.automl.models.backbones import scaled_convolutions
from nni_dream.automl.models.heads import build_reduction, n_features
from nni_dream.automl.models.vanilla import ACTIVATIONS, VanillaNet, initialise
from nni_dream.automl.models.word_vectors import read_word_vectors
from nni_dream.automl.scales import Scale, scaled_embedding, scaled_heads, scaled_length, scaled_width
from nni_dream.automl.text_settings import NgramBlock, SequenceBlock, TextSettings, TextVanillaBlock, TransformerBlock
from nni_dream.automl.vocabulary import PADDING, UNKNOWN, Vocabulary
from nni_dream.automl.weights import WeightsSource

__all__ = [
    "GivenVectors",
    "TermFrequencies",
    "TextClassifier",
    "TransformerNet",
    "WordVectors",
    "build_text_model",
    "text_length",
]

INITIAL_DEVIATION: Final = 0.05  # of word vectors and positions; Keras draws uniformly within 0.05


class TextClassifier(nn.Module):
    """Logits of a text: ids of terms (N, L) to (N, n_classes)."""

    def __init__(self, backbone: nn.Module, dense: nn.Module, *, dropout: float, classifier: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.dense = dense
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    def forward(self, ids: Tensor) -> Tensor:
        features = self.dense(self.backbone(ids))  # (N, F)
        logits: Tensor = self.classifier(self.dropout(features))  # (N, n_classes)
        return logits


class WordVectors(nn.Module):
    """A vector for each id: (N, L) to (N, F, L), or (N, L, F) with `channels_last`.

    Args:
        given: Vectors (n_ids, D) that are kept as they are; projected if D is not the dimension.  ``None``: learned.
    """

    def __init__(self, n_ids: int, dimension: int, *, given: Tensor | None = None, channels_last: bool = False) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.table: nn.Module
        self.projection: nn.Module = nn.Identity()
        if given is None:
            self.table = nn.Embedding(n_ids, dimension)
            nn.init.uniform_(self.table.weight, -INITIAL_DEVIATION, INITIAL_DEVIATION)
            return
        self.table = GivenVectors(given)
        if given.shape[1] != dimension:
            self.projection = nn.Linear(given.shape[1], dimension)

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.projection(self.table(ids))  # (N, L, F)
        return vectors if self.channels_last else vectors.transpose(1, 2)


class GivenVectors(nn.Module):
    """Vectors that no training changes, kept with the weights: (N, L) to (N, L, D)."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = F.embedding(ids, self.get_buffer("vectors"))  # (N, L, D)
        return vectors


class TransformerNet(nn.Module):
    """One encoder layer over word vectors with learned positions: (N, L, F) to (N, F, L)."""

    def __init__(self, length: int, dimension: int, *, n_heads: int, dense_dim: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.head_dim = max(1, dimension // n_heads)
        self.positions = nn.Parameter(torch.empty(length, dimension).uniform_(-INITIAL_DEVIATION, INITIAL_DEVIATION))
        self.queries_keys_values = nn.Linear(dimension, 3 * n_heads * self.head_dim)
        self.attended = nn.Linear(n_heads * self.head_dim, dimension)
        self.norm1 = nn.LayerNorm(dimension)
        self.dense = nn.Sequential(nn.Linear(dimension, dense_dim), nn.ReLU(), nn.Linear(dense_dim, dimension))
        self.norm2 = nn.LayerNorm(dimension)
        for layer in (self.queries_keys_values, self.attended, self.dense[0], self.dense[2]):
            initialise(layer, "glorot_uniform")

    def forward(self, vectors: Tensor) -> Tensor:
        x = vectors + self.positions  # (N, L, F)
        x = self.norm1(x + self._attend(x))
        x = self.norm2(x + self.dense(x))
        features: Tensor = x.transpose(1, 2)
        return features

    def _attend(self, x: Tensor) -> Tensor:
        n_texts, length, _ = x.shape
        heads = self.queries_keys_values(x).view(n_texts, length, 3, self.n_heads, self.head_dim)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)  # each (N, heads, L, head_dim)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        mixed: Tensor = self.attended(attended.transpose(1, 2).flatten(2))  # (N, L, F)
        return mixed


class TermFrequencies(nn.Module):
    """How often each term occurs, weighted by how few texts have it: (N, L) to (N, n_ids)."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        unknown = sum(vocabulary.weights) / len(vocabulary.weights)  # as Keras has it
        self.register_buffer("weights", torch.tensor([0.0, unknown, *vocabulary.weights]))

    def forward(self, ids: Tensor) -> Tensor:
        weights = self.get_buffer("weights")[ids]  # (N, L)
        frequencies = torch.zeros(ids.shape[0], len(self.get_buffer("weights")), device=ids.device)
        return frequencies.scatter_add_(1, ids.long(), weights)


def text_length(settings: TextSettings, scale: Scale) -> int | None:
    """How many ids a text is cut or filled up to; ``None`` where its order does not count."""
    block = settings.block_type
    return scaled_length(block.output_sequence_length, scale) if isinstance(block, SequenceBlock) else None


def build_text_model(
    settings: TextSettings, n_classes: int, vocabulary: Vocabulary, *, source: WeightsSource
) -> TextClassifier:
    """Build the model that the settings describe, with weights drawn from torch's global generator.

    Raises:
        WeightsError: If word vectors are asked for and not there.
    """
    block, scale = settings.block_type, source.scale
    if isinstance(block, NgramBlock):
        backbone: nn.Module = TermFrequencies(vocabulary)
    else:
        backbone = _build_sequence_backbone(block, vocabulary, source)
    length = text_length(settings, scale) or 1
    n_inputs = n_features(backbone, torch.zeros(1, length, dtype=torch.int32))
    dense, n_inputs = _build_dense(settings, n_inputs, scale)
    classifier = nn.Linear(n_inputs, n_classes)
    initialise(classifier, _initializer(settings))
    return TextClassifier(backbone, dense, dropout=settings.dropout, classifier=classifier)


def _build_sequence_backbone(
    block: TextVanillaBlock | TransformerBlock, vocabulary: Vocabulary, source: WeightsSource
) -> nn.Module:
    scale = source.scale
    dimension, length = scaled_embedding(block.embedding_dim, scale), scaled_length(block.output_sequence_length, scale)
    is_transformer = isinstance(block, TransformerBlock)
    given = _given_vectors(block, vocabulary, dimension, source)
    vectors = WordVectors(len(vocabulary), dimension, given=given, channels_last=is_transformer)
    body: nn.Module
    if isinstance(block, TransformerBlock):
        n_heads, dense_dim = scaled_heads(block.num_heads, scale), scaled_width(block.dense_dim, scale)
        body = TransformerNet(length, dimension, n_heads=n_heads, dense_dim=dense_dim)
    else:
        body = VanillaNet(scaled_convolutions(block, scale), (dimension, length))
    return nn.Sequential(vectors, body, build_reduction(block.reduction_type, n_dimensions=1))


def _given_vectors(
    block: SequenceBlock, vocabulary: Vocabulary, dimension: int, source: WeightsSource
) -> Tensor | None:
    if block.pretraining == "none":
        return None
    if block.pretraining != "random":
        return read_word_vectors(source.vectors(block.pretraining), vocabulary)
    vectors = torch.randn(len(vocabulary), dimension) / math.sqrt(dimension)
    vectors[PADDING] = vectors[UNKNOWN] = 0.0
    return vectors


def _build_dense(settings: TextSettings, n_inputs: int, scale: Scale) -> tuple[nn.Module, int]:
    """Return AutoKeras's dense block, and how many features it makes."""
    block = settings.block_type
    activation = ACTIVATIONS[block.activation if isinstance(block, TextVanillaBlock) else "relu"]
    layers: list[nn.Module] = []
    for units in settings.units():
        n_outputs = scaled_width(units, scale)
        linear = nn.Linear(n_inputs, n_outputs)
        initialise(linear, _initializer(settings))
        layers.append(linear)
        if settings.use_batchnorm:
            layers.append(nn.BatchNorm1d(n_outputs))
        layers.append(activation())
        if settings.dense_dropout > 0:
            layers.append(nn.Dropout(settings.dense_dropout))
        n_inputs = n_outputs
    return nn.Sequential(*layers), n_inputs


def _initializer(settings: TextSettings) -> str:
    block = settings.block_type
    return block.initializer if isinstance(block, TextVanillaBlock) else "glorot_uniform"
