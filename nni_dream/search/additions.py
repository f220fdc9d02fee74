"""The 36 actions that DREAM adds to a search space, as data (section 4.1, Table 1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from nni_dream.feedback import Json
from nni_dream.search.roles import Role, role_played

__all__ = ["ADDITIONS", "Addition", "Group"]


class Group(str, Enum):
    """A group of actions in Table 1."""

    MODEL = "model"
    OPTIMIZER = "optimizer"
    FINE_TUNING = "fine-tuning"


@dataclass(frozen=True)
class Addition:
    """An object of Table 1: it gets ``values`` wherever ``premise``, an object and its value, can hold."""

    group: Group
    object: str
    values: tuple[Json, ...]
    premise: tuple[str, Json]
    meaning: str

    @property
    def role(self) -> Role | None:
        """The role by which a parameter of another name is the same."""
        return role_played(self.object)


# Source: DREAM, Table 1; the premises are those of its repository's table of actions.  A premise stands before what
# needs it.
ADDITIONS: Final = (
    Addition(
        Group.MODEL,
        "initializer",
        ("he_uniform", "lecun_uniform", "glorot_uniform"),
        ("block_type", "vanilla"),
        "how the weights of the plain network are drawn",
    ),
    Addition(
        Group.MODEL,
        "activation",
        ("selu", "tanh", "relu"),
        ("block_type", "vanilla"),
        "activation function of the plain network",
    ),
    Addition(
        Group.OPTIMIZER,
        "momentum",
        (0.0, 0.1, 0.5, 0.9, 0.99),
        ("optimizer", "sgd"),
        "momentum of SGD",
    ),
    Addition(
        Group.OPTIMIZER,
        "end_learning_rate",
        (1e-4, 1e-5, 2e-6, 1e-6, 0.0),
        ("optimizer", "adam_weight_decay"),
        "the learning rate goes to it linearly over the run",
    ),
    Addition(
        Group.OPTIMIZER,
        "weight_decay_rate",
        (0.001, 0.005, 0.01, 0.05, 0.1),
        ("optimizer", "adam_weight_decay"),
        "weight decay of AdamW",
    ),
    Addition(
        Group.FINE_TUNING,
        "two_step",
        (True, False),
        ("trainable", True),
        "whether fine-tuning begins with a step of its own",
    ),
    Addition(
        Group.FINE_TUNING,
        "three_step",
        (True, False),
        ("two_step", True),
        "whether fine-tuning has three fixed steps instead",
    ),
    Addition(
        Group.FINE_TUNING,
        "epoch_ratio",
        (0.1, 0.2, 0.3, 0.4, 0.5),
        ("two_step", True),
        "share of the epochs in step 1",
    ),
    Addition(
        Group.FINE_TUNING,
        "lr_ratio",
        (1.0, 0.1, 0.01),
        ("two_step", True),
        "learning rate of step 2 divided by that of step 1",
    ),
    Addition(
        Group.FINE_TUNING,
        "freeze",
        ("all", "no", "bn"),
        ("two_step", True),
        "what of the backbone is frozen in step 1",
    ),
)
