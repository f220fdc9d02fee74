"""The callback in real fits of Keras on torch, against a plain monitor on the same network built in torch."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported

import logging

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nni_dream.integrations import keras as keras_hook
from nni_dream.integrations.keras import DreamCallback
from nni_dream.integrations.keras_view import AppliedGradients, KerasView, unit_dimensions
from nni_dream.integrations.metric_names import MissingMetricError
from nni_dream.monitor import FeedbackMonitor

N_ROWS = 40
BATCH_SIZE = 8
MAX_SCORE = {"monitor": "val_accuracy", "mode": "max"}


def make_data(shape=(4,)):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(N_ROWS, *shape)).astype("float32")
    return x, (x.reshape(N_ROWS, -1).sum(1) > 0).astype("int64")


def make_model(optimizer=None, dropout=0.0):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(16, activation="relu", name="hidden"),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(2, name="output"),
        ],
        name="net",
    )
    return compile_model(model, optimizer)


def compile_model(model, optimizer=None):
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9) if optimizer is None else optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def fit(model, *callbacks, epochs=3, data=None, **arguments):
    x, y = make_data() if data is None else data
    arguments = {"validation_data": (x, y), "shuffle": False, "verbose": 0, **arguments}
    return model.fit(x, y, epochs=epochs, batch_size=BATCH_SIZE, callbacks=list(callbacks), **arguments)


def are_equal(model, other):
    return all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(model.get_weights(), other.get_weights(), strict=True)
    )


class TorchNet(nn.Module):
    """The same network in torch, kernels the other way round."""

    def __init__(self, keras_model):
        super().__init__()
        self.hidden, self.output = nn.Linear(4, 16), nn.Linear(16, 2)
        for layer, (kernel, bias) in (
            (self.hidden, keras_model.get_weights()[:2]),
            (self.output, keras_model.get_weights()[2:]),
        ):
            layer.weight.data = torch.tensor(kernel.T.copy())
            layer.bias.data = torch.tensor(bias)

    def forward(self, x):
        return self.output(self.hidden(x).relu())


def train_in_torch(model, epochs, clip=None, n_accumulated=1):
    """Train as Keras does, with a plain monitor; `epochs` are those of the callback, for their losses and scores."""
    x, y = map(torch.tensor, make_data())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    monitor = FeedbackMonitor(model, optimizer)
    for epoch in epochs:
        for i, (inputs, labels) in enumerate(zip(x.split(BATCH_SIZE), y.split(BATCH_SIZE), strict=True)):
            (F.cross_entropy(model(inputs), labels) / n_accumulated).backward()
            if i % n_accumulated != n_accumulated - 1:
                continue
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
        names = ("train_loss", "val_loss", "train_score", "val_score")
        monitor.end_epoch(**{name: getattr(epoch, name) for name in names})
    return monitor.finish().epochs


@pytest.mark.parametrize(
    ("in_keras", "in_torch"),
    [
        ({}, {}),
        ({"global_clipnorm": 0.05}, {"clip": 0.05}),
        ({"gradient_accumulation_steps": 5}, {"n_accumulated": 5}),
    ],
    ids=["plain", "clipped", "accumulated"],
)
def test_the_numbers_are_those_of_a_plain_monitor_on_the_same_network_in_torch(channel, in_keras, in_torch):
    model = make_model(keras.optimizers.SGD(0.1, momentum=0.9, **in_keras))
    twin = TorchNet(model)
    fit(model, DreamCallback(**MAX_SCORE))
    watched = channel.epochs
    channel.clear()
    in_twin = train_in_torch(twin, watched, **in_torch)

    assert len(watched) == 3
    for ours, theirs in zip(watched, in_twin, strict=True):
        for name in (
            "gradient_norm",
            "gradient_ratio",
            "dead_unit_share",
            "zero_gradient_share",
            "weight_norm",
            "update_ratio",
        ):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=2e-3), name
        for column in ("gradient_norms", "dead_unit_shares", "weight_norms", "update_ratios"):
            assert getattr(ours.layers, column) == pytest.approx(getattr(theirs.layers, column), rel=2e-3), column
        assert ours.learning_rate == theirs.learning_rate == 0.1
    assert watched[0].layers.names == ["hidden/kernel", "output/kernel"]


def test_losses_and_scores_are_those_of_keras_history(channel):
    callback = DreamCallback(**MAX_SCORE)
    history = fit(make_model(), callback).history
    for ours, theirs in (
        ("train_loss", "loss"),
        ("val_loss", "val_loss"),
        ("train_score", "accuracy"),
        ("val_score", "val_accuracy"),
    ):
        assert [getattr(epoch, ours) for epoch in channel.epochs] == pytest.approx(history[theirs], rel=1e-3)
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL"] * 3 + ["FINAL"]
    assert (channel.final.parameters, channel.final.planned_epochs) == ({"units": 8}, 3)
    assert len(callback.feedback.epochs) == 3


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
        lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
        lambda: keras.optimizers.RMSprop(0.01, gradient_accumulation_steps=2, clipnorm=0.1),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
    ],
    ids=["sgd", "adamw", "ema", "accumulated", "loss_scale"],
)
def test_the_callback_does_not_change_the_training(channel, make_optimizer):
    models = []
    for callbacks in ([DreamCallback(**MAX_SCORE)], []):
        models.append(make_model(make_optimizer(), dropout=0.2))
        fit(models[-1], *callbacks, shuffle=True)
    assert are_equal(*models)
    assert channel.epochs[-1].gradient_norm > 0
    assert channel.epochs[-1].update_ratio > 0


def test_a_dead_unit_of_a_keras_kernel_is_one_of_its_columns(channel):
    model = make_model(keras.optimizers.SGD(0.0))
    kernel, bias, *rest = model.get_weights()
    bias[:4] = -1000.0  # 4 of the 16 hidden units
    model.set_weights([kernel, bias, *rest])
    fit(model, DreamCallback(**MAX_SCORE), epochs=1)
    hidden, output = channel.epochs[0].layers.dead_unit_shares
    assert hidden == 0.25
    assert output == 0.0
    assert channel.epochs[0].dead_unit_share == pytest.approx(4 / 18, rel=1e-3)


def make_zoo():
    """One layer of each kind of kernel, its output units in another place each time."""
    keras.utils.set_random_seed(0)
    tokens = keras.layers.Input((6,), dtype="int32")
    x = keras.layers.Embedding(10, 4, name="embedding")(tokens)
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = keras.layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same", name="depthwise")(x)  # 8 channels
    x = keras.layers.Conv1DTranspose(7, 3, padding="same", name="transposed")(x)
    x = keras.layers.SeparableConv1D(5, 3, padding="same", name="separable")(x)
    x = keras.layers.LSTM(3, name="lstm")(x)
    return compile_model(keras.Model(tokens, keras.layers.Dense(2, name="output")(x), name="zoo"))


UNITS = {
    "embedding.weight": None,
    "attention/query/kernel": 6,
    "attention/key/kernel": 6,
    "attention/value/kernel": 6,
    "attention/attention_output/kernel": 4,
    "depthwise/kernel": 8,
    "transposed/kernel": 7,
    "separable/depthwise_kernel": 7,
    "separable/pointwise_kernel": 5,
    "lstm/lstm_cell/kernel": 12,
    "lstm/lstm_cell/recurrent_kernel": 12,
    "output/kernel": 2,
}


def test_every_kind_of_layer_is_measured_with_the_units_that_it_has(channel):
    model = make_zoo()
    tokens = np.random.default_rng(0).integers(0, 10, size=(N_ROWS, 6))
    fit(model, DreamCallback(**MAX_SCORE), data=(tokens, make_data()[1]), epochs=1)
    layers = channel.epochs[0].layers
    assert set(layers.names) == {name.replace("embedding.weight", "embedding/embeddings.weight") for name in UNITS}
    assert all(norm > 0 for norm in layers.gradient_norms)
    assert [name for name, share in zip(layers.names, layers.dead_unit_shares, strict=True) if share is None] == [
        "embedding/embeddings.weight"
    ]
    assert layers.weight_norms == [
        pytest.approx(np.linalg.norm(dict_of_weights(model)[name.removesuffix(".weight")]), rel=1e-3)
        for name in layers.names
    ]


def dict_of_weights(model):
    return {variable.path: variable.numpy() for variable in model.weights}


def test_the_view_shares_the_memory_of_keras_weights_with_the_units_first():
    model = make_zoo()
    view = KerasView(model)
    parameters = {name.removesuffix(".weight"): p for name, p in view.named_parameters()}
    for variable in model.trainable_variables:
        parameter = parameters[variable.path]
        assert parameter.data_ptr() == variable.value.data_ptr()
        n_units = UNITS.get(variable.path)
        if n_units is not None:
            assert parameter.shape[0] == n_units
    assert len(parameters) == len(model.trainable_variables)
    one = next(variable for variable in model.trainable_variables if variable.path == "depthwise/kernel")
    one.assign(np.arange(24.0).reshape(3, 4, 2))  # (width, in, multiplier): channel 5 is input 2, multiplier 1
    assert parameters["depthwise/kernel"][5].tolist() == [5.0, 13.0, 21.0]


@pytest.mark.parametrize(
    ("layer_class", "variable", "shape", "equation", "expected"),
    [
        ("Dense", "kernel", (4, 8), None, (1,)),
        ("Dense", "bias", (8,), None, (0,)),
        ("EinsumDense", "bias", (2, 3), "abc,cde->abde", (0, 1)),
        ("BatchNormalization", "gamma", (8,), None, ()),
        ("Dense", "kernel", (0, 8), None, ()),
        ("Conv2D", "kernel", (3, 3, 4, 8), None, (3,)),
        ("Conv2DTranspose", "kernel", (3, 3, 8, 4), None, (2,)),
        ("DepthwiseConv2D", "kernel", (3, 3, 4, 2), None, (2, 3)),
        ("SeparableConv2D", "depthwise_kernel", (3, 3, 4, 1), None, (2, 3)),
        ("SeparableConv2D", "pointwise_kernel", (1, 1, 4, 8), None, (3,)),
        ("Embedding", "embeddings", (10, 4), None, None),
        ("EinsumDense", "kernel", (4, 2, 3), "abc,cde->abde", (1, 2)),
        ("EinsumDense", "kernel", (2, 3, 4), "abcd,cde->abe", (2,)),
        ("EinsumDense", "kernel", (4, 8), "...x,xy->...y", (1,)),
        ("EinsumDense", "kernel", (2, 4, 3), "ab,cbd->acd", None),  # units on both sides of the input
        ("SomeLayerOfTheUser", "w", (4, 8), None, (1,)),
    ],
)
def test_where_the_output_units_of_a_kernel_are(layer_class, variable, shape, equation, expected):
    assert unit_dimensions(layer_class, variable, shape, equation) == expected


def test_a_model_that_is_not_built_has_no_view():
    with pytest.raises(ValueError, match=r"the Keras model 'net' is not built"):
        KerasView(keras.Sequential([keras.layers.Dense(2)], name="net"))


def test_something_else_than_an_optimizer_of_keras_is_refused():
    view = KerasView(make_model())
    with pytest.raises(TypeError, match=r"optimizer is of type SGD, expected a keras\.optimizers\.Optimizer"):
        AppliedGradients(view, torch.optim.SGD(view.parameters(), lr=0.1))


def test_keras_optimizer_is_left_as_it_was(channel):
    model = make_model()
    fit(model, DreamCallback(**MAX_SCORE))
    assert "_backend_update_step" not in vars(model.optimizer)


def test_a_frozen_layer_has_weights_but_no_gradients(channel):
    model = make_model()
    model.get_layer("hidden").trainable = False
    fit(compile_model(model), DreamCallback(**MAX_SCORE), epochs=1)
    layers = channel.epochs[0].layers
    assert (layers.gradient_norms[0], layers.update_ratios[0]) == (None, 0.0)
    assert layers.gradient_norms[1] > 0


def test_epochs_before_the_initial_one_are_not_planned(channel):
    fit(make_model(), DreamCallback(**MAX_SCORE), epochs=5, initial_epoch=2)
    assert len(channel.epochs) == 3
    assert channel.final.planned_epochs == 3


def test_a_fit_that_the_callbacks_are_told_wrong_of_plans_nothing(channel):
    model = make_model()
    told = keras.callbacks.CallbackList([DreamCallback(**MAX_SCORE)], add_history=True, epochs=1, model=model)
    x, y = make_data()
    model.fit(x, y, epochs=4, initial_epoch=2, validation_data=(x, y), verbose=0, callbacks=told)
    assert len(channel.epochs) == 2
    assert channel.final.planned_epochs is None


def test_validation_every_second_epoch_is_a_row_of_two_epochs(channel, caplog):
    fit(make_model(), DreamCallback(planned_epochs=2, **MAX_SCORE), epochs=4, validation_freq=2)
    assert len(channel.epochs) == 2
    assert channel.final.planned_epochs == 2
    assert caplog.text.count("no validation in this epoch") == 1


def test_a_minimised_training_loss_needs_no_validation(channel):
    fit(make_model(), DreamCallback(monitor="loss", mode="min"), validation_data=None)
    assert [epoch.val_score for epoch in channel.epochs] == [epoch.train_loss for epoch in channel.epochs]


def test_an_early_stop_ends_with_the_final_result(channel):
    stop = keras.callbacks.EarlyStopping("val_accuracy", min_delta=2, patience=1, mode="max", restore_best_weights=True)
    fit(make_model(), stop, DreamCallback(**MAX_SCORE), epochs=9)
    assert len(channel.final.epochs) == 2


def test_a_training_that_explodes_is_reported_to_the_end(channel):
    fit(make_model(keras.optimizers.SGD(1e30)), DreamCallback(**MAX_SCORE))
    last = channel.epochs[-1]
    assert len(channel.epochs) == 3
    assert (last.train_loss, last.val_loss, last.n_nonfinite_losses) == (None, None, 2)
    assert last.n_nonfinite_weights > 0
    assert last.n_nonfinite_gradients > 0


class Failing(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise RuntimeError("out of memory")


def test_after_an_exception_the_result_is_sent_at_finish(channel):
    model, callback = make_model(), DreamCallback(**MAX_SCORE)
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(model, callback, Failing())
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL"] * 2
    callback.finish()
    assert len(channel.final.epochs) == 2
    assert "_backend_update_step" not in vars(model.optimizer)


def test_a_second_fit_goes_on_if_it_was_announced(channel):
    callback, model = DreamCallback(n_fits=2, **MAX_SCORE), make_model()
    fit(model, callback, epochs=1)
    fit(compile_model(model), callback, epochs=2)  # with an optimizer of its own
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL"] * 3 + ["FINAL"]
    assert all(epoch.gradient_norm > 0 for epoch in channel.epochs)


def test_a_second_fit_that_was_not_announced_is_not_watched(channel, caplog):
    callback, model = DreamCallback(**MAX_SCORE), make_model()
    fit(model, callback, epochs=1)
    with caplog.at_level(logging.WARNING):
        fit(model, callback, epochs=1)
    assert len(channel.values) == 2
    assert "this fit is not watched" in caplog.text


@pytest.mark.parametrize("validation", [True, False])
def test_a_metric_that_is_not_there_is_an_error_that_names_those_that_are(channel, validation):
    words = r"monitor is 'val_f1', but the metrics are accuracy, loss.*model\.compile\(metrics=\.\.\.\)"
    arguments = {} if validation else {"validation_data": None}
    with pytest.raises(MissingMetricError, match=words):
        fit(make_model(), DreamCallback(monitor="val_f1", mode="max"), **arguments)
    assert channel.values == []


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras_hook._library.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match=r"Keras runs on 'jax', .* set the environment variable KERAS_BACKEND=torch"):
        DreamCallback(**MAX_SCORE)
