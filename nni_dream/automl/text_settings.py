"""The parameters of a trial on texts: experiment_configs/spaces/text.json and text_expanded.json.

AutoKeras's text blocks and the actions that DREAM adds to them.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from nni_dream.automl.image_settings import ConvolutionBlock
from nni_dream.automl.parameters import NAMED, Adam, Optimizer, Parameters, Reduction, Share

__all__ = ["NgramBlock", "Pretraining", "SequenceBlock", "TextSettings", "TextVanillaBlock", "TransformerBlock"]

Pretraining: TypeAlias = Literal["none", "random", "glove", "fasttext", "word2vec"]
UnitCount: TypeAlias = Annotated[int, Field(ge=1, le=65536)]


class SequenceBlock(Parameters):
    """What the blocks over sequences of tokens have in common."""

    output_sequence_length: Annotated[int, Field(ge=1, le=65536)] = 128  # tokens; longer texts are cut
    embedding_dim: UnitCount = 64
    # none: vectors learned with the rest; random: kept as they were drawn; others: read from a file and kept
    pretraining: Pretraining = "none"
    reduction_type: Reduction = "global_max"


class TextVanillaBlock(SequenceBlock, ConvolutionBlock):
    name: Literal["vanilla"] = Field(default="vanilla", alias="_name")


class TransformerBlock(SequenceBlock):
    name: Literal["transformer"] = Field(default="transformer", alias="_name")
    num_heads: Annotated[int, Field(ge=1, le=1024)] = 8
    dense_dim: UnitCount = 512


class NgramBlock(Parameters):
    """Term frequencies, weighted by how few texts have the term."""

    name: Literal["ngram"] = Field(default="ngram", alias="_name")
    ngrams: Annotated[int, Field(ge=1, le=5)] = 1  # the longest


class TextSettings(Parameters):
    """What a trial on texts can be told; AutoKeras's defaults where it has one."""

    block_type: Annotated[TextVanillaBlock | TransformerBlock | NgramBlock, Field(discriminator="name"), NAMED] = (
        TextVanillaBlock()
    )
    max_tokens: Annotated[int, Field(ge=3, le=10_000_000)] = 5000  # of the vocabulary, most frequent first
    use_batchnorm: bool = False  # in the dense block
    dense_layers: Literal[1, 2, 3] = 2
    units_0: UnitCount = 64
    units_1: UnitCount = 64
    units_2: UnitCount = 64
    dense_dropout: Share = 0.0
    dropout: Share = 0.0  # before the head
    optimizer: Optimizer = Adam()
    learning_rate: float = Field(default=0.001, gt=0.0)

    def units(self) -> tuple[int, ...]:
        return (self.units_0, self.units_1, self.units_2)[: self.dense_layers]
