"""Roles: what a parameter is for, from its name and its values."""

import pytest

from nni_dream.search.roles import (
    Role,
    architecture_word,
    canonical_value,
    object_name,
    role_named,
    role_of,
    stated_role,
)
from nni_dream.search.space import SearchSpace

RATES = [0.1, 0.01]
SHARES = [0.0, 0.5]
COUNTS = [1, 2, 3]
WORDS = ["one", "two"]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        # learning rate
        ("lr", RATES, "learning_rate"),
        ("LR", RATES, "learning_rate"),
        ("learning_rate", RATES, "learning_rate"),
        ("learningRate", RATES, "learning_rate"),
        ("LearningRate", RATES, "learning_rate"),
        ("learning-rate", RATES, "learning_rate"),
        ("learning rate", RATES, "learning_rate"),
        ("optimizer/lr", RATES, "learning_rate"),
        ("optimizer.lr", RATES, "learning_rate"),
        ("SOLVER.BASE_LR", RATES, "learning_rate"),
        ("init_lr", RATES, "learning_rate"),
        ("lr0", RATES, "learning_rate"),
        ("lr_1", RATES, "learning_rate"),
        ("generator_lr", RATES, "learning_rate"),
        ("lr", [1e-5, 1e5], "learning_rate"),
        ("lr", [0.1, None], "learning_rate"),
        ("lr", WORDS, None),
        ("lr", ["4e-5", "1e-4"], None),  # YAML 1.1 reads numbers so
        ("lr", [-0.1, 0.1], None),
        ("lr", [True, False], None),
        ("lr", [None], None),
        ("lr", [[0.1, 0.2]], None),
        ("min_lr", RATES, "end_learning_rate"),
        ("end_learning_rate", RATES, "end_learning_rate"),
        # other rates and shares
        ("momentum", SHARES, "momentum"),
        ("momentum", [0, 2], None),
        ("weight_decay", [0, 1e-5], "weight_decay"),
        ("wd", [0, 1e-5], "weight_decay"),
        ("L2Regularization", [0, 0.5, 1], "weight_decay"),
        ("weight_decay_rate", RATES, "weight_decay"),
        ("dropout", SHARES, "dropout"),
        ("dropout_rate", SHARES, "dropout"),
        ("drop_out", SHARES, "dropout"),
        ("conv_dropout", SHARES, "dropout"),
        ("dropout1", SHARES, "dropout"),
        ("dp", SHARES, "dropout"),
        ("dropout", [5, 10], None),
        # words
        ("optimizer", WORDS, "optimizer"),
        ("optm", ["SGD", "Adam"], "optimizer"),
        ("anything", ["SGD", "torch.optim.Adam"], "optimizer"),
        ("criterion", ["focal", "f1"], None),
        ("optimizer", COUNTS, None),
        ("activation", WORDS, "activation"),
        ("act_func", ["relu", "leaky_relu", "relu6"], "activation"),
        ("anything", ["ReLU", "LeakyReLU"], "activation"),
        ("init", ["no", "kaiming", "xavier"], "initializer"),
        ("anything", ["he_uniform", "glorot_uniform"], "initializer"),
        ("kernel", ["linear", "rbf", "poly", "sigmoid"], None),  # of a support vector machine
        # architecture
        ("block_type", ["resnet", "vanilla"], "architecture"),
        ("MODEL.ARCHITECTURE", ["Unet", "FPN"], "architecture"),
        ("MODEL.ENCODER", ["resnet50"], "architecture"),
        ("backbone", ["resnet18"], "architecture"),
        ("d_model", [128, 256], "width"),
        ("model", [1, 2], None),
        ("model", ["adam", "sgd"], "optimizer"),  # the values speak for themselves
        ("version", ["resnet50", "resnet101"], None),
        ("pretrained_on", ["resnet"], None),
        # counts
        ("batch_size", [16, 32], "batch_size"),
        ("mini_batch", [15, 10], "batch_size"),
        ("SOLVER.IMS_PER_BATCH", [32], "batch_size"),
        ("batch_size", [0.5, 1], None),
        ("num_layers", COUNTS, "depth"),
        ("e_layers", COUNTS, "depth"),
        ("max_depth", COUNTS, "depth"),
        ("filters_0_1", [16, 256], "width"),
        ("hidden_size", [124, 512], "width"),
        ("lstm1_nodes", [128, 256], "width"),
        ("hidden", [[64, 64], [128]], "width"),
        ("hidden", [True, False], None),
        ("conv_size", [2, 3], "kernel_size"),
        ("kernel_size", [[3, 3], 5], "kernel_size"),
        ("epochs", [100, 50], "epochs"),
        ("SOLVER.MAX_EPOCH", [60], "epochs"),
        ("input_epoch_num", [64, 120], None),
        # the rest
        ("mixup", SHARES, "augmentation"),
        ("horizontal_flip", [True, False], "augmentation"),
        ("lr_scheduler", WORDS, "schedule"),
        ("warmup_epochs", COUNTS, "schedule"),
        ("lr_decay", RATES, "schedule"),
        ("anything", ["StepLR", "CosineAnnealingLR"], "schedule"),
        ("seed", COUNTS, None),
        ("gamma", SHARES, None),
        ("x", RATES, None),
        ("", RATES, None),
        (".", RATES, None),
        ("学习率", RATES, None),
        ("lr", [], None),
    ],
)
def test_role(name, values, expected):
    found = role_of(name, values)
    assert (found and found.value) == expected


@pytest.mark.parametrize(
    ("name", "spec", "expected"),
    [
        ("lr", ("uniform", [0.0001, 1.0]), "learning_rate"),
        ("lr", ("normal", [0, 1]), None),  # it would be negative half of the time
        ("lr", ("lognormal", [-5, 1]), "learning_rate"),
        ("hidden_size", ("randint", [50, 100]), "width"),
        ("hidden_size", ("quniform", [50, 100, 10]), "width"),
        ("hidden_size", ("quniform", [50, 100, 0.5]), None),
        ("hidden_size", ("uniform", [50, 100]), None),  # continuous: it counts nothing
        ("dropout", ("uniform", [0.5, 0.9]), "dropout"),
        ("momentum", ("uniform", [0, 1]), "momentum"),
    ],
)
def test_role_of_a_range(name, spec, expected):
    (parameter,) = SearchSpace({name: {"_type": spec[0], "_value": spec[1]}}).parameters
    assert (parameter.role and parameter.role.value) == expected


@pytest.mark.parametrize(
    ("name", "role", "expected"),
    [
        ("lr", Role.LEARNING_RATE, "learning_rate"),
        ("learningRate", Role.LEARNING_RATE, "learning_rate"),
        ("lr", None, "lr"),  # of words, say
        ("optim", Role.OPTIMIZER, "optimizer"),
        ("act", Role.ACTIVATION, "activation"),
        ("filters_0_1", Role.WIDTH, "filters"),
        ("filters_12", Role.WIDTH, "filters"),
        ("conv1", None, "conv1"),
        ("dropout1", Role.DROPOUT, "dropout"),
        ("layer_2_size", None, "layer_2_size"),
        ("image_block_1/block_type", Role.ARCHITECTURE, "block_type"),
        ("backbone", Role.ARCHITECTURE, "backbone"),
        ("classification_head_1/dropout_2", Role.DROPOUT, "dropout"),
        ("conv_dropout", Role.DROPOUT, "conv_dropout"),
        ("Trainable", None, "trainable"),
    ],
)
def test_object_name(name, role, expected):
    assert object_name(name, role) == expected


def test_what_is_stated_by_path_goes_before_what_is_stated_by_name():
    stated = {"a.rate": "dropout", "rate": "momentum"}
    assert stated_role(stated, ("a", "rate")) is Role.DROPOUT
    assert stated_role(stated, ("b", "rate")) is Role.MOMENTUM
    assert stated_role(stated, ("b", "other")) is None


def test_an_unknown_role():
    with pytest.raises(ValueError, match=r"roles: parameter 'x' has unknown role 'lr', expected one of architecture"):
        role_named("lr", "x")


@pytest.mark.parametrize(
    ("role", "value", "expected"),
    [
        (Role.OPTIMIZER, "AdamW", "adam_weight_decay"),
        (Role.OPTIMIZER, "adam_weight_decay", "adam_weight_decay"),
        (Role.OPTIMIZER, "torch.optim.SGD", "sgd"),
        (Role.OPTIMIZER, "mine", None),
        (Role.OPTIMIZER, None, None),
        (Role.ACTIVATION, "swish", "silu"),
        (Role.INITIALIZER, "kaiming_uniform_", "he_uniform"),
        (Role.ARCHITECTURE, "ResNet50_v2", "resnet"),
        (Role.ARCHITECTURE, "tf_efficientnet_b0", "efficient"),
        (Role.ARCHITECTURE, "N-Gram", "ngram"),
        (Role.ARCHITECTURE, "vgg", None),
        (Role.DROPOUT, "adam", None),
        (None, "adam", None),
        (None, True, "true"),
        (None, "False", "false"),
        (None, 1, None),
    ],
)
def test_the_tables_word_for_a_value(role, value, expected):
    assert canonical_value(role, value) == expected


def test_the_first_family_that_is_named_counts():
    assert architecture_word("inceptionresnet_xception") == "xception"
