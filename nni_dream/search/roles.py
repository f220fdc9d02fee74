"""Roles: what a parameter is for - ``lr``, ``base_lr``, ``optimizer/lr`` are all the learning rate - and other names.

The one place that knows names.  A role follows from the values where they speak for themselves (a choice of ``adam``
and ``sgd`` is the optimizer, whatever it is called), else from the name, unless the values contradict it (a ``lr`` of
words is no learning rate).  What the user states goes before both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final

from nni_dream.feedback import Json

__all__ = [
    "Role",
    "architecture_word",
    "canonical_value",
    "object_name",
    "role_named",
    "role_of",
    "role_played",
    "stated_role",
]


class Role(str, Enum):
    """What a parameter is for."""

    ARCHITECTURE = "architecture"
    OPTIMIZER = "optimizer"
    LEARNING_RATE = "learning_rate"
    END_LEARNING_RATE = "end_learning_rate"
    MOMENTUM = "momentum"
    WEIGHT_DECAY = "weight_decay"
    DROPOUT = "dropout"
    ACTIVATION = "activation"
    INITIALIZER = "initializer"
    BATCH_SIZE = "batch_size"
    DEPTH = "depth"
    WIDTH = "width"
    KERNEL_SIZE = "kernel_size"
    AUGMENTATION = "augmentation"
    SCHEDULE = "schedule"
    EPOCHS = "epochs"


# role, the name of that object in priority tables, and its spellings.  A spelling also counts as the end of a longer
# name: ``generator_lr`` is a learning rate.  An object of None keeps the parameter's own name.
_NAMES: Final[tuple[tuple[Role, str | None, str], ...]] = (
    (
        Role.ARCHITECTURE,
        None,
        "block_type architecture arch model model_name model_type model_arch backbone network net encoder",
    ),
    (Role.OPTIMIZER, "optimizer", "optimizer optimiser optim optimizer_name optimizer_type opt optm solver"),
    (
        Role.LEARNING_RATE,
        "learning_rate",
        "learning_rate lr learningrate learn_rate lrate init_lr initial_lr base_lr start_lr max_lr peak_lr"
        " init_learning_rate initial_learning_rate base_learning_rate max_learning_rate",
    ),
    (
        Role.END_LEARNING_RATE,
        "end_learning_rate",
        "end_learning_rate end_lr final_lr min_lr lr_min eta_min final_learning_rate min_learning_rate",
    ),
    (Role.MOMENTUM, "momentum", "momentum mom sgd_momentum"),
    (
        Role.WEIGHT_DECAY,
        None,
        "weight_decay weight_decay_rate weightdecay wd l2 l2_reg l2_regularization l2_regularisation",
    ),
    (
        Role.DROPOUT,
        "dropout",
        "dropout dropout_rate dropout_prob dropout_p dropout_ratio drop_out drop drop_p drop_rate drop_prob dp",
    ),
    (Role.ACTIVATION, "activation", "activation act activation_function activation_fn act_func act_fn nonlinearity"),
    (Role.INITIALIZER, "initializer", "initializer initialiser init weight_init initialization kernel_initializer"),
    (Role.BATCH_SIZE, "batch_size", "batch_size batchsize batch bs minibatch mini_batch minibatch_size ims_per_batch"),
    (Role.DEPTH, "num_layers", "num_layers n_layers nb_layers layers num_hidden_layers n_hidden_layers"),
    (Role.DEPTH, "num_blocks", "num_blocks n_blocks nb_blocks blocks"),
    (Role.DEPTH, None, "depth max_depth"),
    (Role.WIDTH, "filters", "filters num_filters n_filters nb_filters channels num_channels n_channels"),
    (
        Role.WIDTH,
        None,
        "width units hidden hidden_size hidden_dim hidden_units n_hidden nodes dim d_model d_ff latent_size"
        " embedding_size embed_size",
    ),
    (Role.KERNEL_SIZE, "kernel_size", "kernel_size kernel ksize conv_size filter_size kernel_width"),
    (
        Role.AUGMENTATION,
        None,
        "augment augmentation data_augmentation mixup cutmix cutout translation rotation zoom contrast brightness"
        " translation_factor rotation_factor zoom_factor contrast_factor flip crop jitter color_jitter random_erasing",
    ),
    (
        Role.SCHEDULE,
        None,
        "schedule scheduler lr_schedule lr_scheduler learning_rate_schedule lr_decay learning_rate_decay lr_policy"
        " lr_gamma lr_step warmup warmup_epochs warmup_steps warmup_ratio warmup_lr decay_steps decay_epochs",
    ),
    (Role.EPOCHS, "epochs", "epochs epoch n_epochs num_epochs num_epoch max_epoch max_epochs train_epochs"),
)
_SPELLINGS: Final = {spelling: (role, object_) for role, object_, words in _NAMES for spelling in words.split()}

# Objects of priority tables that any parameter of their role plays when none has their name.
_ROLE_OBJECTS: Final = {role.value: role for role in Role if role not in (Role.DEPTH, Role.WIDTH)} | {
    "block_type": Role.ARCHITECTURE,
    "weight_decay_rate": Role.WEIGHT_DECAY,
}

# Values that are the same to priority tables: any spelling -> the tables' own.
_OPTIMIZERS: Final = {
    word: word
    for word in "adam nadam radam adamax adagrad adadelta adafactor sgd asgd rmsprop rprop lamb lars lion ftrl"
    " lbfgs".split()
} | {
    "adamw": "adam_weight_decay",
    "adamweightdecay": "adam_weight_decay",
    "stochasticgradientdescent": "sgd",
    "momentumsgd": "sgd",
    "sgdmomentum": "sgd",
}
_ACTIVATIONS: Final = {
    word: word
    for word in "relu relu6 leakyrelu prelu rrelu selu celu elu gelu silu mish tanh sigmoid softplus softsign hardtanh"
    " hardswish hardsigmoid".split()
} | {"swish": "silu"}
_INITIALIZERS: Final = {
    "heuniform": "he_uniform",
    "kaiminguniform": "he_uniform",
    "henormal": "he_normal",
    "kaimingnormal": "he_normal",
    "glorotuniform": "glorot_uniform",
    "xavieruniform": "glorot_uniform",
    "glorotnormal": "glorot_normal",
    "xaviernormal": "glorot_normal",
    "lecununiform": "lecun_uniform",
    "lecunnormal": "lecun_normal",
    "kaiming": "kaiming",
    "xavier": "xavier",
    "orthogonal": "orthogonal",
}
_SCHEDULES: Final = {
    word: word
    for word in "cosineannealing cosineannealinglr cosinewarmup steplr multisteplr exponentiallr reducelronplateau"
    " onecycle onecyclelr cycliclr".split()
}
_WORDS: Final[Mapping[Role, Mapping[str, str]]] = {
    Role.OPTIMIZER: _OPTIMIZERS,
    Role.ACTIVATION: _ACTIVATIONS,
    Role.INITIALIZER: _INITIALIZERS,
    Role.SCHEDULE: _SCHEDULES,
}
_ARCHITECTURES: Final = ("xception", "efficient", "resnet", "ngram", "transformer", "vanilla")  # first match counts


def stated_role(stated: Mapping[str, str], path: Sequence[str]) -> Role | None:
    """Return the role that the user states for a parameter, by its dotted path or else by its name.

    Raises:
        ValueError: If the stated role is none.
    """
    key = next((key for key in (".".join(path), path[-1]) if key in stated), None)
    return None if key is None else role_named(stated[key], key)


def role_named(word: str, parameter: str) -> Role:
    """Return the role of that name.

    Raises:
        ValueError: If there is none; the message names the parameter for which it was stated.
    """
    known = [role.value for role in Role]
    if word not in known:
        raise ValueError(
            f"roles: parameter {parameter!r} has unknown role {word!r}, expected one of {', '.join(known)}"
        )
    return Role(word)


def role_of(name: str, values: Sequence[Json]) -> Role | None:
    """Return what a parameter is for, or ``None``.

    Args:
        values: Its options, or some numbers of its range, the bounds among them.  One value of a configuration does.
    """
    words = [_squeezed(value) for value in values]
    for role, known in _WORDS.items():
        if words and all(word in known for word in words):
            return role
    named = _role_by_name(name)
    return named if named is not None and _FITS[named](values) else None


def object_name(name: str, role: Role | None) -> str:
    """Return the name under which priority tables know a parameter: ``learning_rate`` for ``lr``.

    A parameter whose name says something else than its role has keeps its own name, without case and numbers.
    """
    plain, bare = _plain(name)
    spelled_role, object_ = _SPELLINGS.get(plain) or _SPELLINGS.get(bare) or (None, None)
    return object_ if object_ is not None and spelled_role is role else plain


def role_played(object_: str) -> Role | None:
    """Return the role that stands in for an object of a priority table where no parameter has its name."""
    return _ROLE_OBJECTS.get(object_)


def canonical_value(role: Role | None, value: Json) -> str | None:
    """Return a priority table's word for a value - ``adam_weight_decay`` for ``AdamW`` - or ``None`` if it has none.

    ``true`` and the text ``"True"`` are one word, whatever the role: the options of a nested choice often have texts
    for names.
    """
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false")):
        return str(value).lower()
    if role is Role.ARCHITECTURE:
        return architecture_word(value)
    return _WORDS[role].get(_squeezed(value)) if role is not None and role in _WORDS else None


def architecture_word(value: Json) -> str | None:
    """Return the family of networks that a value names: ``resnet`` for ``ResNet50_v2``; ``None`` for any other."""
    text = str(value).lower().replace("-", "").replace("_", "")
    return next((word for word in _ARCHITECTURES if word in text), None)


def _squeezed(value: Json) -> str:
    """The last part of a word without case and separators: ``adamw`` for ``torch.optim.AdamW``; empty if no word."""
    return re.sub(r"[^a-z0-9]", "", value.rsplit(".", maxsplit=1)[-1].lower()) if isinstance(value, str) else ""


@lru_cache(maxsize=4096)
def _plain(name: str) -> tuple[str, str]:
    """The last part of a name in lower case, words joined by ``_``: without trailing ``_1``, and without any number.

    ``filters`` for ``image_block/filters_0_1``; ``dropout1`` and ``dropout`` for ``dropout1``.
    """
    last = re.split(r"[/.]", name.rstrip("/."))[-1]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\s\-:]+", "_", last).lower().strip("_")
    plain = re.sub(r"(_\d+)+$", "", words)
    return plain, re.sub(r"[_\d]+$", "", plain)


@lru_cache(maxsize=4096)
def _role_by_name(name: str) -> Role | None:
    """The role of the longest spelling with which the name ends."""
    for form in _plain(name):
        words = form.split("_")
        endings = ("_".join(words[start:]) for start in range(len(words)))
        found = next((_SPELLINGS[ending] for ending in endings if ending in _SPELLINGS), None)
        if found is not None:
            return found[0]
    return None


def _numbers(values: Sequence[Json]) -> list[float]:
    return [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]


def _are_numbers(values: Sequence[Json]) -> bool:
    """Whether there is a number, and nothing else but ``null``, which often says "none of it"."""
    numbers = _numbers(values)
    return bool(numbers) and len(numbers) == sum(value is not None for value in values)


def _are_rates(values: Sequence[Json]) -> bool:
    return _are_numbers(values) and min(_numbers(values)) >= 0


def _are_shares(values: Sequence[Json]) -> bool:
    return _are_rates(values) and max(_numbers(values)) <= 1


def _are_counts(values: Sequence[Json]) -> bool:
    return _are_rates(values) and all(isinstance(number, int) or number.is_integer() for number in _numbers(values))


def _are_sizes(values: Sequence[Json]) -> bool:
    """Counts, or lists of them: ``3``, ``[3, 5]``."""
    flat = [inner for value in values for inner in (value if isinstance(value, (list, tuple)) else [value])]
    return _are_counts(flat)


def _are_words(values: Sequence[Json]) -> bool:
    """Words, or lists of them, or ``null``, and at least one word."""
    flat = [inner for value in values for inner in (value if isinstance(value, (list, tuple)) else [value])]
    return any(isinstance(value, str) for value in flat) and all(
        value is None or value is False or isinstance(value, str) for value in flat
    )


def _are_any(values: Sequence[Json]) -> bool:
    return True


_FITS: Final[Mapping[Role, Callable[[Sequence[Json]], bool]]] = {
    Role.ARCHITECTURE: _are_words,
    Role.OPTIMIZER: _are_words,
    Role.LEARNING_RATE: _are_rates,
    Role.END_LEARNING_RATE: _are_rates,
    Role.MOMENTUM: _are_shares,
    Role.WEIGHT_DECAY: _are_rates,
    Role.DROPOUT: _are_shares,
    Role.ACTIVATION: _are_words,
    Role.INITIALIZER: _are_words,
    Role.BATCH_SIZE: _are_counts,
    Role.DEPTH: _are_counts,
    Role.WIDTH: _are_sizes,
    Role.KERNEL_SIZE: _are_sizes,
    Role.AUGMENTATION: _are_any,
    Role.SCHEDULE: _are_any,
    Role.EPOCHS: _are_counts,
}
