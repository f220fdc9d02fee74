"""What the monitor measures, each number recomputed here by plain autograd; and that measuring changes nothing.

Messages carry four significant digits, so the recomputed numbers agree to a relative 1e-3.
"""

import copy
import json
import logging
import math
import os
import weakref
from types import SimpleNamespace

import nni
import pytest
import torch
import torch.nn.functional as F
from nni.runtime import env_vars, trial_command_channel
from nni.runtime.trial_command_channel import TrialCommandChannel, set_default_trial_command_channel
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nni_dream.feedback import MAX_LAYERS, SCORE_WITHOUT_ANY, parse_metric
from nni_dream.gradient_sampling import is_sampled
from nni_dream.layer_numbers import MAX_GRADIENT_RATIO
from nni_dream.monitor import FeedbackMonitor
from nni_dream.reporting import TrialReporter
from nni_dream.search.conditions import Weight, diagnose_weight
from nni_dream.tensor_statistics import count_nonfinite, count_zeros

RELATIVE_TOLERANCE = 1e-3


def approx(value):
    return pytest.approx(value, rel=RELATIVE_TOLERANCE, abs=1e-12)


class RecordingReporter(TrialReporter):
    """Keeps the metrics as the strict JSON that they must be."""

    def __init__(self):
        self.intermediate = []
        self.final = []

    def report_intermediate(self, metric):
        self.intermediate.append(json.loads(json.dumps(metric, allow_nan=False)))

    def report_final(self, metric):
        self.final.append(json.loads(json.dumps(metric, allow_nan=False)))


class TiedNet(nn.Module):
    """Embedding, one hidden layer, and an output that shares the embedding's table."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(6, 20)
        self.hidden = nn.Linear(6, 6)
        self.table = nn.Embedding(20, 6)
        self.output.weight = self.table.weight

    def forward(self, tokens):
        return self.output(self.hidden(self.table(tokens)).relu().mean(1))


class BackwardsNet(nn.Module):
    """Registered last layer first; `second` is used twice."""

    def __init__(self):
        super().__init__()
        self.third = nn.Linear(4, 3)
        self.unused = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.first = nn.Linear(4, 4)

    def forward(self, x):
        x = self.second(self.first(x))
        return self.third(self.second(x))


def make_mlp():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def make_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(6, 4, 3, groups=2),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def make_problem(name):
    """Returns a model and batches of inputs and classes."""
    torch.manual_seed(0)
    if name == "mlp":
        model, inputs = make_mlp(), torch.randn(5, 8, 4)
    elif name == "cnn":
        model, inputs = make_cnn(), torch.randn(5, 8, 3, 8, 8)
    else:
        model, inputs = TiedNet(), torch.randint(10, (5, 8, 7))
    return model, list(zip(inputs, torch.randint(3, (5, 8)), strict=True))


def make_optimizer(model, learning_rate=0.1):
    return torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=learning_rate, momentum=0.9)


def train_epoch(model, optimizer, batches):
    for inputs, classes in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), classes).backward()
        optimizer.step()


def make_monitor(model, optimizer, **arguments):
    arguments = {"optimize_mode": "maximize", "reporter": RecordingReporter(), **arguments}
    return FeedbackMonitor(model, optimizer, **arguments)


def watch_one_epoch(model, optimizer, batches, **arguments):
    monitor = make_monitor(model, optimizer, **arguments)
    train_epoch(model, optimizer, batches)
    return monitor.end_epoch(val_score=0.5)


def layer(epoch, name):
    """Returns the columns of one weight, by name."""
    i = epoch.layers.names.index(name)
    return SimpleNamespace(
        gradient_norm=epoch.layers.gradient_norms[i],
        zero_gradient_share=epoch.layers.zero_gradient_shares[i],
        dead_unit_share=epoch.layers.dead_unit_shares[i],
        weight_norm=epoch.layers.weight_norms[i],
        update_ratio=epoch.layers.update_ratios[i],
    )


def unit_rows(model, name, gradient):
    """Returns the gradient with one row per output unit, by the definition of the layer."""
    module = model.get_submodule(name.rpartition(".")[0])
    if not isinstance(module, nn.ConvTranspose2d):
        return gradient.flatten(1)
    per_group = gradient.chunk(module.groups)  # each (in / groups, out / groups, height, width)
    return torch.cat([part.transpose(0, 1).flatten(1) for part in per_group])


def replay(model, batches, sampled):
    """Trains a copy with plain autograd; returns the gradients at the sampled steps, the first and the last weights."""
    model = copy.deepcopy(model)
    weights = {name: p for name, p in model.named_parameters() if p.ndim >= 2}
    start = {name: w.detach().clone() for name, w in weights.items()}
    optimizer = make_optimizer(model)
    gradients = []
    for step, (inputs, classes) in enumerate(batches):
        grads = torch.autograd.grad(F.cross_entropy(model(inputs), classes), list(model.parameters()))
        for parameter, grad in zip(model.parameters(), grads, strict=True):
            parameter.grad = grad
        if step in sampled:
            gradients.append({name: w.grad.clone() for name, w in weights.items()})
        optimizer.step()
    return gradients, start, {name: w.detach() for name, w in weights.items()}


# ---- what is measured


@pytest.mark.parametrize("problem", ["mlp", "cnn", "tied"])
def test_layers_agree_with_plain_autograd(problem):
    model, batches = make_problem(problem)
    gradients, start, end = replay(model, batches, sampled=(0, 1, 3))

    epoch = watch_one_epoch(model, make_optimizer(model), batches)

    assert sorted(epoch.layers.names) == sorted(start)
    for name in epoch.layers.names:
        measured = layer(epoch, name)
        own = [grads[name] for grads in gradients]
        assert measured.gradient_norm == approx(sum(g.norm().item() for g in own) / 3)
        assert measured.weight_norm == approx(end[name].norm().item())
        assert measured.update_ratio == approx(((end[name] - start[name]).norm() / start[name].norm()).item())
        if (problem, name) == ("tied", "output.weight"):  # it is the embedding's table
            assert (measured.zero_gradient_share, measured.dead_unit_share) == (None, None)
            continue
        rows = torch.stack([unit_rows(model, name, g) for g in own])  # (samples, units, entries)
        assert measured.zero_gradient_share == approx((rows == 0).float().mean().item())
        assert measured.dead_unit_share == approx((rows == 0).all(2).all(0).float().mean().item())


@pytest.mark.parametrize("problem", ["mlp", "cnn"])
def test_pooled_numbers_agree_with_plain_autograd(problem):
    model, batches = make_problem(problem)
    gradients, start, end = replay(model, batches, sampled=(0, 1, 3))
    norms = {name: sum(grads[name].norm().item() for grads in gradients) / 3 for name in start}

    epoch = watch_one_epoch(model, make_optimizer(model), batches)

    rows = {name: torch.stack([unit_rows(model, name, grads[name]) for grads in gradients]) for name in start}
    n_dead = sum((r == 0).all(2).all(0).sum().item() for r in rows.values())
    n_zero = sum((r == 0).sum().item() for r in rows.values())
    update = math.hypot(*((end[name] - start[name]).norm().item() for name in start))
    first, *_, last = norms.values()
    assert epoch.gradient_norm == approx(math.hypot(*norms.values()))
    assert epoch.gradient_ratio == approx(first / last)
    assert epoch.dead_unit_share == approx(n_dead / sum(r.shape[1] for r in rows.values()))
    assert epoch.zero_gradient_share == approx(n_zero / sum(r.numel() for r in rows.values()))
    assert epoch.weight_norm == approx(math.hypot(*(w.norm().item() for w in end.values())))
    assert epoch.update_ratio == approx(update / math.hypot(*(w.norm().item() for w in start.values())))
    assert (epoch.n_nonfinite_weights, epoch.n_nonfinite_gradients, epoch.n_layers) == (0, 0, len(start))


def test_the_second_epoch_samples_evenly_and_measures_its_own_update():
    model, batches = make_problem("mlp")
    optimizer = make_optimizer(model)
    monitor = make_monitor(model, optimizer, samples_per_epoch=2)
    train_epoch(model, optimizer, batches)
    monitor.end_epoch(val_score=0.5)
    start = model[0].weight.detach().clone()
    norms = []
    for batch in batches:
        train_epoch(model, optimizer, [batch])
        norms.append(model[0].weight.grad.norm().item())

    epoch = monitor.end_epoch(val_score=0.5)

    assert epoch.layers.names is None  # sent with the first epoch only
    assert epoch.layers.gradient_norms[0] == approx((norms[1] + norms[4]) / 2)
    assert epoch.layers.update_ratios[0] == approx(((model[0].weight - start).norm() / start.norm()).item())


@pytest.mark.parametrize(
    ("n_expected", "n_samples", "expected"),
    [
        (None, 4, [0, 1, 3, 7, 15]),
        (20, 4, [4, 9, 14, 19]),
        (5, 2, [1, 4]),
        (5, 1, [4]),
        (3, 4, [0, 1, 2]),  # fewer steps than samples: all
        (1, 4, [0]),
    ],
)
def test_sampled_steps(n_expected, n_samples, expected):
    assert [step for step in range(20) if is_sampled(step, n_expected, n_samples)] == expected


def test_a_unit_is_dead_if_no_sampled_step_reached_it():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor([0.0, -100.0, -100.0, -1.0]))
    inputs = [torch.full((1, 2), 2.0), torch.full((1, 2), 0.1)]  # unit 3 is reached by the first batch only
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    epoch = watch_one_epoch(model, optimizer, [(x, torch.zeros(1, dtype=torch.long)) for x in inputs])

    assert layer(epoch, "0.weight").dead_unit_share == 0.5
    assert layer(epoch, "0.weight").zero_gradient_share == approx((2 + 3) / 8)
    assert layer(epoch, "2.weight").dead_unit_share == 0.0
    assert epoch.dead_unit_share == approx(2 / 6)


def test_units_of_a_grouped_transposed_convolution_are_its_output_channels():
    model = nn.ConvTranspose2d(6, 4, 3, groups=2)  # weight: (6, 2, 3, 3); channels 0, 1 come from inputs 0 to 2
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = make_monitor(model, optimizer)
    model.weight.grad = torch.ones_like(model.weight)
    model.weight.grad[:3, 1] = 0.0  # nothing reaches output channel 1
    optimizer.step()
    assert monitor.end_epoch(val_score=0.5).layers.dead_unit_shares == [0.25]


def test_units_of_the_transposed_linear_layer_of_gpt2_are_its_outputs():
    from transformers.pytorch_utils import Conv1D

    layer = Conv1D(4, 6)  # weight: (6 inputs, 4 outputs)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    monitor = make_monitor(layer, optimizer)
    layer.weight.grad = torch.ones_like(layer.weight)
    layer.weight.grad[:, 1] = 0.0
    optimizer.step()
    assert monitor.end_epoch(val_score=0.5).layers.dead_unit_shares == [0.25]


def test_a_dead_network_has_no_ratio_and_one_dead_at_the_output_the_largest():
    model = make_mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = make_monitor(model, optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    epoch = monitor.end_epoch(val_score=0.5)
    assert (epoch.gradient_norm, epoch.gradient_ratio, epoch.dead_unit_share) == (0.0, None, 1.0)

    model[0].weight.grad.fill_(1.0)
    optimizer.step()
    assert monitor.end_epoch(val_score=0.5).gradient_ratio == MAX_GRADIENT_RATIO

    model[4].weight.grad.fill_(1e-12)  # not dead, but nearly
    optimizer.step()
    assert monitor.end_epoch(val_score=0.5).gradient_ratio == MAX_GRADIENT_RATIO


def test_a_unit_whose_norm_underflows_is_not_dead():
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = make_monitor(model, optimizer)
    model.weight.grad = torch.zeros_like(model.weight)
    model.weight.grad[0, 1] = 1e-30  # its square is 0 in float32
    optimizer.step()
    assert monitor.end_epoch(val_score=0.5).dead_unit_share == 0.5


@pytest.mark.parametrize("shape", [(512, 512), (40, 5000), (8, 100_000), (100_000, 2), (64, 65, 3, 3)])
def test_zeros_of_a_large_gradient_are_counted_on_a_grid(shape):
    torch.manual_seed(0)
    gradient = torch.rand(shape)
    assert count_zeros(gradient * (gradient > 0.3)) == pytest.approx(0.3 * gradient.numel(), rel=0.1)
    assert count_zeros(torch.zeros(shape)) == pytest.approx(gradient.numel())


def test_between_the_lines_of_the_grid_nothing_is_looked_at():
    gradient = torch.ones(512, 512)  # one of three units, and of each one of three entries
    gradient[1::3] = gradient[:, 2::3] = 0.0
    assert count_zeros(gradient) == 0


def test_zeros_of_a_gradient_of_32768_entries_are_all_counted():
    gradient = torch.ones(128, 256)
    gradient[-1, -1] = gradient[3, 5] = 0.0
    assert count_zeros(gradient) == 2


@pytest.mark.parametrize("norm", [math.nan, torch.tensor(math.nan)], ids=["on the CPU", "as on a GPU"])
def test_entries_that_are_not_finite_are_counted(norm):
    assert int(count_nonfinite(torch.tensor([math.nan, math.inf, -math.inf, 1e30, 0.0]), norm)) == 3


def test_an_embedding_has_norms_but_no_shares():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50, 4), nn.Flatten(), nn.Linear(8, 3))
    epoch = watch_one_epoch(model, make_optimizer(model), [(torch.randint(5, (6, 2)), torch.randint(3, (6,)))])
    table = layer(epoch, "0.weight")
    assert table.gradient_norm > 0
    assert (table.zero_gradient_share, table.dead_unit_share) == (None, None)
    assert epoch.dead_unit_share == 0.0
    assert epoch.gradient_ratio == approx(table.gradient_norm / layer(epoch, "2.weight").gradient_norm)


def test_sparse_gradients_have_a_norm():
    torch.manual_seed(0)
    table = nn.Embedding(50, 4, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    monitor = make_monitor(table, optimizer)
    table(torch.tensor([1, 1, 2])).sum().backward()  # row 1 is hit twice: 2s, row 2 once: 1s
    optimizer.step()
    assert monitor.end_epoch(val_score=0.5).layers.gradient_norms == [approx(math.sqrt(4 * 4 + 4 * 1))]


def test_frozen_tensors_have_no_gradient_even_if_an_old_one_is_still_there():
    model, batches = make_problem("mlp")
    optimizer = torch.optim.SGD(model[2:].parameters(), lr=0.1)
    optimizer.add_param_group({"params": [model[0].weight], "lr": 0.0})
    F.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    model[0].weight.requires_grad_(False)
    monitor = make_monitor(model, optimizer)
    model[2:].zero_grad()
    F.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    optimizer.step()
    epoch = monitor.end_epoch(val_score=0.5)
    assert model[0].weight.grad is not None
    frozen = layer(epoch, "0.weight")
    assert (frozen.gradient_norm, frozen.zero_gradient_share, frozen.dead_unit_share) == (None, None, None)
    assert frozen.weight_norm > 0
    assert frozen.update_ratio == 0.0
    first, last = layer(epoch, "2.weight"), layer(epoch, "4.weight")
    assert epoch.gradient_ratio == approx(first.gradient_norm / last.gradient_norm)


def test_tensors_unfrozen_later_are_measured_from_then_on():
    model, batches = make_problem("mlp")
    model[0].requires_grad_(False)
    optimizer = make_optimizer(model)
    monitor = make_monitor(model, optimizer)
    train_epoch(model, optimizer, batches)
    assert monitor.end_epoch(val_score=0.5).layers.gradient_norms[0] is None

    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": list(model[0].parameters())})
    train_epoch(model, optimizer, batches)
    assert monitor.end_epoch(val_score=0.5).layers.gradient_norms[0] > 0


def test_a_second_step_of_fine_tuning_with_its_own_optimizer():
    model, batches = make_problem("mlp")
    head = torch.optim.SGD(model[4].parameters(), lr=0.1)
    monitor = make_monitor(model, head)
    train_epoch(model, head, batches)
    first = monitor.end_epoch(val_score=0.5)

    everything = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor.watch(everything)
    monitor.watch(everything)  # once is enough
    train_epoch(model, everything, batches[:1])
    second = monitor.end_epoch(val_score=0.5)

    assert first.layers.gradient_norms[:2] == [None, None]
    assert second.layers.gradient_norms == [approx(model[i].weight.grad.norm().item()) for i in (0, 2, 4)]
    assert (first.learning_rate, second.learning_rate) == (0.1, 0.01)


def test_weights_that_change_their_type_are_followed_from_then_on():
    model, batches = make_problem("mlp")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = make_monitor(model, optimizer)
    train_epoch(model, optimizer, batches)
    monitor.end_epoch(val_score=0.5)
    model.double()
    with torch.no_grad():
        model[0].weight.mul_(2)
    batches = [(inputs.double(), classes) for inputs, classes in batches]
    train_epoch(model, optimizer, batches)
    changed = monitor.end_epoch(val_score=0.5)
    start = model[0].weight.detach().clone()
    train_epoch(model, optimizer, batches)
    later = monitor.end_epoch(val_score=0.5)
    assert (changed.update_ratio, changed.layers.weight_norms[0]) == (None, approx(start.norm().item()))
    assert later.layers.update_ratios[0] == approx(((model[0].weight - start).norm() / start.norm()).item())


def test_two_optimizers_are_each_read_at_their_own_steps():
    model, batches = make_problem("mlp")
    body = torch.optim.SGD(model[:4].parameters(), lr=0.0)
    head = torch.optim.SGD(model[4].parameters(), lr=0.0)
    monitor = make_monitor(model, [body, head])
    for i, (inputs, classes) in enumerate(batches[:3]):
        model.zero_grad()
        F.cross_entropy(model(inputs), classes).backward()
        body.step()
        if i == 2:
            head.step()
    epoch = monitor.end_epoch(val_score=0.5)
    assert epoch.layers.gradient_norms[2] == approx(model[4].weight.grad.norm().item())

    body_norms = []
    for inputs, classes in batches[:2]:
        model.zero_grad()
        F.cross_entropy(model(inputs), classes).backward()
        body_norms.append(model[0].weight.grad.norm().item())
    assert epoch.layers.gradient_norms[0] == approx(sum(body_norms) / 2)


# ---- gradients as the optimizer applies them


@pytest.mark.parametrize("is_named", [False, True])
def test_gradients_that_a_closure_computes_are_read_after_it(is_named):
    model, batches = make_problem("mlp")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = make_monitor(model, optimizer)
    applied = []
    for inputs, classes in batches[:2]:

        def closure(inputs=inputs, classes=classes):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), classes)
            loss.backward()
            applied.append(model[0].weight.grad.norm().item())
            return loss

        loss = optimizer.step(closure=closure) if is_named else optimizer.step(closure)
        assert loss.requires_grad  # the closure's own result
    epoch = monitor.end_epoch(val_score=0.5)
    assert epoch.layers.names == ["0.weight", "2.weight", "4.weight"]
    assert epoch.layers.gradient_norms[0] == approx(sum(applied) / 2)


def test_of_a_closure_called_several_times_a_step_the_first_gradients_count():
    model, batches = make_problem("mlp")
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    monitor = make_monitor(model, optimizer)
    seen = []

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batches[0][0]), batches[0][1])
        loss.backward()
        seen.append(model[0].weight.grad.norm().item())
        return loss

    optimizer.step(closure)
    assert len(seen) > 1
    assert monitor.end_epoch(val_score=0.5).layers.gradient_norms[0] == approx(seen[0])


def test_gradients_are_read_after_accumulation_and_clipping():
    model, batches = make_problem("mlp")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = make_monitor(model, optimizer)
    for inputs, classes in batches[:3]:
        (100 * F.cross_entropy(model(inputs), classes)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    clipped = [model[i].weight.grad.norm().item() for i in (0, 2, 4)]
    optimizer.step()
    assert monitor.end_epoch(val_score=0.5).layers.gradient_norms == [approx(norm) for norm in clipped]
    assert math.hypot(*clipped) < 1.0


@pytest.mark.parametrize("is_fused", [False, True])
def test_under_a_gradient_scaler_gradients_are_unscaled_and_skipped_steps_do_not_count(is_fused):
    model, batches = make_problem("mlp")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=is_fused)
    monitor = make_monitor(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=10_000)
    (inputs, classes), poisoned = batches[0], torch.full((8, 4), math.inf)

    for x in (poisoned, inputs):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), classes)
        scaler.scale(loss).backward()
        scaled = model[0].weight.grad.norm().item()
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()

    epoch = monitor.end_epoch(val_score=0.5)
    assert scale == 512.0  # the poisoned step halved it
    assert epoch.layers.gradient_norms[0] == approx(scaled / scale)
    assert epoch.n_nonfinite_gradients == 0


def test_non_finite_gradients_are_counted_over_the_sampled_steps():
    model = make_mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = make_monitor(model, optimizer)
    for value in (math.nan, math.inf):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        model[2].weight.grad[0, :3] = value
        optimizer.step()
    epoch = monitor.end_epoch(val_score=0.5)
    assert epoch.n_nonfinite_gradients == 6
    assert layer(epoch, "2.weight").gradient_norm is None
    assert epoch.gradient_norm is None


def test_a_norm_that_overflows_counts_as_one_non_finite_gradient():
    model = make_mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = make_monitor(model, optimizer)
    model[0].weight.grad = torch.full_like(model[0].weight, 1e30)
    optimizer.step()
    assert monitor.end_epoch(val_score=0.5).n_nonfinite_gradients == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_other_dtypes(dtype):
    model = nn.Linear(300, 300, dtype=dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = make_monitor(model, optimizer)
    model.weight.grad = torch.full_like(model.weight, 250.0)
    optimizer.step()
    epoch = monitor.end_epoch(val_score=0.5)
    assert epoch.gradient_norm == approx(75_000.0)  # beyond the range of float16
    assert epoch.update_ratio == 0.0


# ---- forward order and names


def test_layers_come_in_forward_order_each_at_its_first_use():
    model = BackwardsNet()
    epoch = watch_one_epoch(model, make_optimizer(model), [(torch.randn(2, 4), torch.tensor([0, 1]))])
    assert epoch.layers.names == ["first.weight", "second.weight", "third.weight", "unused.weight"]
    assert epoch.gradient_ratio == approx(
        layer(epoch, "first.weight").gradient_norm / layer(epoch, "third.weight").gradient_norm
    )


class ListedNet(nn.Module):
    """Weights whose own modules are not called, between two that are; deep enough for its gradients to vanish."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.inner = nn.ParameterList([nn.Parameter(torch.randn(4, 4)) for _ in range(3)])
        self.borrowed = nn.Linear(4, 4, bias=False)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x)
        for weight in self.inner:
            x = torch.sigmoid(x @ weight)
        return self.last(F.linear(x, self.borrowed.weight))


def test_a_weight_whose_module_is_not_called_follows_the_one_registered_before_it():
    """As in timm's BEiT and SwinV2; at the end of the order it would stand for the output."""
    model = ListedNet()
    epoch = watch_one_epoch(model, make_optimizer(model), [(torch.randn(2, 4), torch.tensor([0, 1]))])
    inner = [f"inner.{i}" for i in range(3)]
    assert epoch.layers.names == ["first.weight", *inner, "borrowed.weight", "last.weight"]
    assert epoch.gradient_ratio == approx(
        layer(epoch, "first.weight").gradient_norm / layer(epoch, "last.weight").gradient_norm
    )


def test_a_layer_order_can_be_told():
    names = ["second.weight", "first.weight"]
    model = BackwardsNet()
    epoch = watch_one_epoch(
        model, make_optimizer(model), [(torch.randn(2, 4), torch.tensor([0, 1]))], layer_order=names
    )
    assert epoch.layers.names == [*names, "third.weight", "unused.weight"]


def test_a_tied_weight_counts_once_at_its_first_use():
    model, batches = make_problem("tied")
    epoch = watch_one_epoch(model, make_optimizer(model), batches)
    assert epoch.layers.names == ["output.weight", "hidden.weight"]  # the table, by its first name


def test_the_projections_of_attention_stay_together():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = make_monitor(model, optimizer)
    model(torch.randn(2, 3, 8)).sum().backward()
    optimizer.step()
    assert monitor.end_epoch(val_score=0.5).layers.names == [
        "self_attn.in_proj_weight",
        "self_attn.out_proj.weight",
        "linear1.weight",
        "linear2.weight",
    ]


def test_long_names_keep_their_end():
    model = nn.ModuleDict({"a" * 80: nn.Linear(2, 2)})
    epoch = make_monitor(model, make_optimizer(model)).end_epoch(val_score=0.5)
    assert epoch.layers.names == ["a" * 49 + ".weight"]


@pytest.mark.parametrize("how", ["torch.compile", "module.compile", "submodule"])
def test_a_compiled_model_is_measured_under_its_plain_names(how, caplog):
    caplog.set_level(logging.INFO, logger="nni_dream")
    torch._dynamo.reset()
    plain, batches = make_problem("mlp")
    model = plain
    if how == "torch.compile":
        model = torch.compile(plain, backend="eager")
    elif how == "module.compile":
        plain.compile(backend="eager")
    else:
        plain[0] = torch.compile(plain[0], backend="eager")

    epoch = watch_one_epoch(model, make_optimizer(model), batches)

    assert epoch.layers.names == ["0.weight", "2.weight", "4.weight"]
    assert None not in epoch.layers.gradient_norms
    assert "the model is compiled: its layers are taken in registration order" in caplog.text


def test_a_model_compiled_behind_the_monitor_keeps_whole_graphs():
    torch._dynamo.reset()
    model, batches = make_problem("mlp")
    graphs = []

    def keep_graph(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=keep_graph, fullgraph=True)
    optimizer = make_optimizer(model)
    monitor = make_monitor(model, optimizer)
    for _ in range(2):
        train_epoch(compiled, optimizer, batches)
        monitor.end_epoch(val_score=0.5)
    assert len(graphs) <= 2  # with the hooks, and once they are gone


def test_a_compiled_training_step_is_measured_like_any_other_and_not_compiled_anew_each_time():
    epochs = []
    for is_compiled in (False, True):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        model, batches = make_problem("mlp")
        optimizer = make_optimizer(model)
        monitor = make_monitor(model, optimizer, layer_order=[])

        def step(inputs, classes, model=model, optimizer=optimizer):
            train_epoch(model, optimizer, [(inputs, classes)])

        trained = torch.compile(step, backend="eager") if is_compiled else step
        for inputs, classes in 3 * batches:
            trained(inputs, classes)
        epochs.append(monitor.end_epoch(val_score=0.5))
    plain, compiled = epochs
    assert compiled.layers == plain.layers
    assert 0 < torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 4  # 15 steps


def test_data_parallel_is_unwrapped():
    model, batches = make_problem("mlp")
    epoch = watch_one_epoch(nn.DataParallel(model), make_optimizer(model), batches)
    assert epoch.layers.names == ["0.weight", "2.weight", "4.weight"]


def train_one_rank(rank, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model, batches = make_problem("mlp")
    parallel = DistributedDataParallel(model)
    optimizer = make_optimizer(parallel)
    reporter = RecordingReporter()
    monitor = make_monitor(parallel, optimizer, reporter=reporter)
    train_epoch(parallel, optimizer, batches[rank::2][:2])
    epoch = monitor.end_epoch(val_score=0.5)
    monitor.finish()
    outcome = {
        "n_reports": [len(reporter.intermediate), len(reporter.final)],
        "names": epoch.layers.names,
        "gradient_norms": epoch.layers.gradient_norms,
    }
    (folder / f"{rank}.json").write_text(json.dumps(outcome))
    torch.distributed.barrier()
    os._exit(0)  # not torch's own shutdown: the destructor of DDP can wait for a thread that waits for Python's lock


def test_of_two_distributed_processes_only_the_first_reports(tmp_path):
    torch.multiprocessing.spawn(train_one_rank, args=(tmp_path,), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["n_reports"] == [1, 1]
    assert second["n_reports"] == [0, 0]
    assert first["names"] == ["0.weight", "2.weight", "4.weight"]
    assert second["gradient_norms"] == first["gradient_norms"]  # averaged over the processes


# ---- training is not changed


@pytest.mark.parametrize("problem", ["mlp", "cnn", "tied"])
def test_weights_and_random_numbers_are_bit_equal_with_and_without_a_monitor(problem):
    outcomes = []
    for is_watched in (False, True):
        model, batches = make_problem(problem)
        model = nn.Sequential(model, nn.Dropout(0.5))
        optimizer = make_optimizer(model)
        monitor = make_monitor(model, optimizer) if is_watched else None
        for _ in range(3):
            train_epoch(model, optimizer, batches)
            if monitor:
                monitor.end_epoch(val_score=0.5)
        if monitor:
            monitor.finish()
        outcomes.append([*(value.clone() for value in model.state_dict().values()), torch.get_rng_state()])
    assert all(torch.equal(plain, watched) for plain, watched in zip(*outcomes, strict=True))


def test_no_hook_remains_after_finish():
    model, batches = make_problem("mlp")
    optimizer = make_optimizer(model)
    monitor = make_monitor(model, optimizer)
    assert optimizer._optimizer_step_pre_hooks
    assert any(module._forward_pre_hooks for module in model.modules())
    train_epoch(model, optimizer, batches)
    assert not any(module._forward_pre_hooks for module in model.modules())  # the order is known
    monitor.end_epoch(val_score=0.5)
    monitor.finish()
    assert not optimizer._optimizer_step_pre_hooks


def test_no_copy_of_the_weights_remains_after_finish():
    model, batches = make_problem("mlp")
    monitor = make_monitor(model, optimizer := make_optimizer(model))
    train_epoch(model, optimizer, batches)
    copies = list(map(weakref.ref, monitor._updates._copies))
    assert [copy().shape for copy in copies] == [weight.shape for weight in model.parameters() if weight.ndim > 1]
    monitor.end_epoch(val_score=0.5)
    monitor.finish()
    assert not any(copy() is not None for copy in copies)


def test_a_copy_made_before_the_first_step_holds_no_weights_of_its_own_and_changes_nothing():
    model, batches = make_problem("mlp")
    optimizer = make_optimizer(model)
    monitor = make_monitor(model, optimizer)
    average = copy.deepcopy(model)
    (hook,) = average[4]._forward_pre_hooks.values()
    assert hook.__self__ is monitor._order
    average[4](torch.randn(8, 8))  # as if the output came first
    train_epoch(model, optimizer, batches)
    average(batches[0][0])
    assert monitor.end_epoch(val_score=0.5).layers.names == ["0.weight", "2.weight", "4.weight"]


def test_a_refused_monitor_leaves_no_hook():
    model = make_mlp()
    optimizer = make_optimizer(model)
    with pytest.raises(ValueError, match="has none of the model's parameters"):
        make_monitor(model, [optimizer, make_optimizer(make_mlp())])
    assert not optimizer._optimizer_step_pre_hooks
    assert not any(module._forward_pre_hooks for module in model.modules())


# ---- scores and messages


@pytest.mark.parametrize(
    ("mode", "scores", "defaults", "final"),
    [
        ("maximize", [0.5, 0.7, 0.6], [0.5, 0.7, 0.6], 0.7),
        ("minimize", [0.5, 0.7, 0.6], [0.5, 0.7, 0.6], 0.5),
        ("maximize", [-3.0, -2.0], [-3.0, -2.0], -2.0),  # R squared can be negative
        ("maximize", [0.5, math.nan, 0.6], [0.5, 0.5, 0.6], 0.6),
        ("maximize", [math.nan, math.inf], [0.0, 0.0], 0.0),
        ("minimize", [math.inf, 2.0, math.nan], [1e10, 2.0, 2.0], 2.0),
        ("maximize", [0.98765432], [0.98765432], 0.98765432),  # not rounded: tuners compare it
    ],
)
def test_the_default_of_every_message_is_finite(mode, scores, defaults, final):
    reporter = RecordingReporter()
    model = make_mlp()
    monitor = make_monitor(model, make_optimizer(model), optimize_mode=mode, reporter=reporter)
    for score in scores:
        monitor.end_epoch(val_score=score)
    monitor.finish()
    assert [metric["default"] for metric in reporter.intermediate] == defaults
    assert [metric["default"] for metric in reporter.final] == [final]
    assert SCORE_WITHOUT_ANY == {"maximize": 0.0, "minimize": 1e10}


def test_finish_sends_the_best_epoch_once_and_returns_all():
    reporter = RecordingReporter()
    model, batches = make_problem("mlp")
    optimizer = make_optimizer(model)
    monitor = make_monitor(
        model, optimizer, planned_epochs=5, parameters={"units": 8}, architecture="OA", reporter=reporter
    )
    for score in (0.5, 0.7, 0.6):
        train_epoch(model, optimizer, batches)
        monitor.end_epoch(train_loss=1.0, val_loss=1.1, train_score=0.6, val_score=score)

    feedback = monitor.finish()

    assert monitor.finish() == feedback
    (final,) = reporter.final
    assert (final["val_score"], final["n_epochs"]) == (0.7, 3)
    assert (feedback.parameters, feedback.architecture, feedback.planned_epochs) == ({"units": 8}, "OA", 5)
    assert [epoch.val_score for epoch in feedback.epochs] == [0.5, 0.7, 0.6]
    messages = [parse_metric(metric) for metric in reporter.intermediate]
    assert [message.epochs[0] for message in messages] == list(feedback.epochs)
    for message in messages:
        assert message.model_copy(update={"epochs": feedback.epochs}) == feedback


def test_finish_without_an_epoch_sends_nothing(caplog):
    reporter = RecordingReporter()
    model = make_mlp()
    assert make_monitor(model, make_optimizer(model), reporter=reporter).finish().epochs == ()
    assert reporter.final == []
    assert "finish() before any end_epoch()" in caplog.text


def test_numbers_may_be_tensors_and_non_finite_ones_are_counted():
    model = make_mlp()
    monitor = make_monitor(model, make_optimizer(model), optimize_mode="minimize")
    epoch = monitor.end_epoch(
        train_loss=torch.tensor(math.nan), val_loss=torch.tensor(0.25), train_score=math.inf, learning_rate=0.5
    )
    assert (epoch.train_loss, epoch.val_loss, epoch.train_score) == (None, 0.25, None)
    assert epoch.val_score == 0.25  # the loss, when minimizing
    assert epoch.n_nonfinite_losses == 1
    assert epoch.learning_rate == 0.5
    assert epoch.seconds >= 0


@pytest.mark.parametrize(
    ("given", "n_nonfinite"),
    [
        ({"train_loss": 0.5, "val_loss": 0.4, "val_score": math.nan}, 0),
        ({"train_loss": math.inf, "val_loss": math.nan, "val_score": 0.5}, 2),
        ({"val_loss": math.nan, "train_score": math.nan, "val_score": math.nan}, 1),
        ({"train_score": math.nan, "val_score": math.nan}, 2),
        ({"val_score": 0.5}, 0),
    ],
)
def test_a_score_that_is_undefined_is_no_loss_that_exploded(given, n_nonfinite):
    """The area under a curve of a single class, say; where no loss is given the scores are all there is to see."""
    model = make_mlp()
    assert make_monitor(model, make_optimizer(model)).end_epoch(**given).n_nonfinite_losses == n_nonfinite


def test_a_rate_in_a_tensor_is_that_of_the_last_step_too():
    """Schedulers set the next one in place."""
    model = make_mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.5))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    monitor = make_monitor(model, optimizer)
    rates = []
    for _ in range(3):
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
        scheduler.step()
        rates.append(monitor.end_epoch(val_score=0.5).learning_rate)
    assert rates == [0.5, 0.25, 0.125]


def test_an_epoch_without_a_step_of_a_watched_optimizer_is_told_once(caplog):
    """As with an optimizer around another one, which calls that one's step."""
    model = make_mlp()
    monitor = make_monitor(model, torch.optim.SGD(model.parameters(), lr=0.1))
    used = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.randn(2, 4)).sum().backward()
        used.step()
        assert monitor.end_epoch(val_score=0.5).gradient_norm is None
    assert caplog.text.count("no step of a watched optimizer in this epoch") == 1


def test_the_learning_rate_is_the_optimizers():
    model = make_mlp()
    monitor = make_monitor(model, [make_optimizer(model, 0.125), make_optimizer(model, 0.25)])
    assert monitor.end_epoch(val_score=0.5).learning_rate == 0.125


def test_a_scheduler_that_steps_before_the_epoch_is_closed_sets_the_next_ones_rate():
    model, batches = make_problem("mlp")
    optimizer = make_optimizer(model, 0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    monitor = make_monitor(model, optimizer)
    rates = []
    for _ in range(2):
        train_epoch(model, optimizer, batches)
        scheduler.step()
        rates.append(monitor.end_epoch(val_score=0.5).learning_rate)
    assert rates == approx([0.5, 0.05])


def test_an_epoch_without_a_step_has_no_gradients():
    model = make_mlp()
    epoch = make_monitor(model, make_optimizer(model)).end_epoch(val_score=0.5)
    assert epoch.layers.gradient_norms == [None, None, None]
    assert (epoch.gradient_norm, epoch.gradient_ratio, epoch.dead_unit_share, epoch.update_ratio) == (None,) * 4
    assert epoch.weight_norm > 0


def test_exploded_weights_are_counted_and_the_message_stays_strict_json():
    model, batches = make_problem("cnn")
    optimizer = make_optimizer(model)
    reporter = RecordingReporter()
    monitor = make_monitor(model, optimizer, reporter=reporter)
    train_epoch(model, optimizer, batches)
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = math.nan
        model[1].bias[:2] = math.inf  # one dimension counts here too
    epoch = monitor.end_epoch(val_loss=math.nan, val_score=math.nan)
    assert epoch.n_nonfinite_weights == 3
    assert (layer(epoch, "0.weight").weight_norm, layer(epoch, "0.weight").update_ratio) == (None, None)
    assert epoch.weight_norm is None
    assert reporter.intermediate[0]["n_nonfinite_weights"] == 3


def test_weights_whose_norm_overflows_count_as_one_non_finite_weight_each():
    model, batches = make_problem("mlp")
    optimizer = make_optimizer(model)
    monitor = make_monitor(model, optimizer)
    train_epoch(model, optimizer, batches)
    with torch.no_grad():
        model[0].weight.fill_(1e20)
        model[2].weight.fill_(1e20)
        model[2].weight[0, :3] = math.inf
    epoch = monitor.end_epoch(val_score=0.5)
    assert epoch.n_nonfinite_weights == 1 + 3
    assert epoch.weight_norm is None
    assert diagnose_weight([epoch]) is Weight.EXPLODING


@pytest.mark.parametrize("n_layers", [MAX_LAYERS, 400])
def test_messages_of_deep_models_stay_under_20_kilobytes(n_layers):
    torch.manual_seed(0)
    prefix = "encoder.a_rather_long_name_of_a_block_in_a_deep_model"
    model = nn.Sequential()
    for i in range(n_layers):
        model.add_module(f"{prefix}_{i}".replace(".", "_"), nn.Linear(3, 3))
    optimizer = make_optimizer(model)
    reporter = RecordingReporter()
    monitor = make_monitor(model, optimizer, parameters={"units": 3}, reporter=reporter)
    for _ in range(2):
        train_epoch(model, optimizer, [(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))])
        epoch = monitor.end_epoch(train_loss=1.2345, val_loss=1.2345, train_score=0.1234, val_score=0.1234)
    sizes = [len(json.dumps(metric)) for metric in reporter.intermediate]
    assert max(sizes) < 20_000
    assert epoch.n_layers == n_layers
    names = parse_metric(reporter.intermediate[0]).epochs[0].layers.names
    assert len(names) == MAX_LAYERS
    assert (names[0].split("_")[-1], names[-1].split("_")[-1]) == ("0.weight", f"{n_layers - 1}.weight")


# ---- refusals


class NoWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


class FullyShardedDataParallel(nn.Linear):
    """Bears the name of torch's class, which needs a process group."""


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"optimize_mode": "max"}, ValueError, "optimize_mode is 'max', expected one of maximize, minimize"),
        ({"architecture": "ResNet"}, ValueError, "architecture is 'ResNet', expected one of None, RA, EA"),
        ({"samples_per_epoch": 0}, ValueError, "samples_per_epoch is 0, expected 1 or more"),
        ({"planned_epochs": 0}, ValueError, "planned_epochs is 0, expected a whole number, 1 or more"),
        ({"planned_epochs": 2.5}, ValueError, "planned_epochs is 2.5, expected a whole number, 1 or more"),
        ({"parameters": {"lr": math.nan}}, TypeError, "parameter 'lr' is nan, expected JSON without NaN and infinity"),
        ({"parameters": {"lr": {1, 2}}}, TypeError, r"parameter 'lr' is \{1, 2\}, expected JSON"),
        ({"layer_order": ["fc"]}, ValueError, "layer_order names 'fc', but the model's weights are 0.weight, 2.weight"),
    ],
)
def test_arguments_out_of_range(arguments, error, words):
    model = make_mlp()
    with pytest.raises(error, match=words):
        make_monitor(model, make_optimizer(model), **arguments)


def test_a_model_without_numbers_is_refused_at_once():
    with torch.device("meta"):
        model = make_mlp()
    with pytest.raises(ValueError, match=r"parameter '0\.weight' is on the meta device: make the monitor when"):
        make_monitor(model, make_optimizer(model))


def test_optimizers_that_are_none_or_of_another_model():
    model = make_mlp()
    scheduler = torch.optim.lr_scheduler.StepLR(make_optimizer(model), 1)
    with pytest.raises(TypeError, match=r"optimizer is of type StepLR, expected a torch\.optim\.Optimizer"):
        make_monitor(model, scheduler)
    with pytest.raises(ValueError, match="the SGD optimizer has none of the model's parameters"):
        make_monitor(model, make_optimizer(make_mlp()))
    with pytest.raises(ValueError, match="no optimizer is given"):
        make_monitor(model, [])


def test_an_optimizer_of_biases_is_welcome():
    model = make_mlp()
    biases = torch.optim.SGD([model[0].bias], lr=0.1)
    weights = torch.optim.SGD([model[0].weight], lr=0.1)
    make_monitor(model, [weights, biases])


def test_models_that_cannot_be_measured():
    model = NoWeights()
    with pytest.raises(ValueError, match="NoWeights has no parameter tensor of two or more dimensions"):
        make_monitor(model, make_optimizer(model))
    model = nn.Sequential(FullyShardedDataParallel(2, 2))
    with pytest.raises(NotImplementedError, match=r"'0' is sharded over processes \(FullyShardedDataParallel\)"):
        make_monitor(model, make_optimizer(model))
    model = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2))
    with pytest.raises(ValueError, match=r"parameter '1.weight' has no shape yet: run one forward pass"):
        make_monitor(model, torch.optim.SGD(model[0].parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("mode", "numbers", "words"),
    [
        ("maximize", {"val_loss": 0.5}, "end_epoch\\(\\) got no val_score"),
        ("minimize", {"train_loss": 0.5}, "end_epoch\\(\\) got neither val_score nor val_loss"),
        ("maximize", {"val_score": torch.ones(3)}, "val_score is a tensor of shape \\(3,\\), expected one number"),
        ("maximize", {"val_score": "good"}, "val_score is 'good', expected one number"),
        ("maximize", {"val_score": 0.5, "train_loss": 10**400}, "train_loss is 1000.*, expected one number"),
    ],
)
def test_epochs_without_a_usable_score(mode, numbers, words):
    model = make_mlp()
    with pytest.raises(ValueError, match=words):
        make_monitor(model, make_optimizer(model), optimize_mode=mode).end_epoch(**numbers)


def test_a_loss_that_still_has_its_graph_is_a_number_without_a_warning(recwarn):
    model = make_mlp()
    loss = model(torch.ones(2, 4)).mean()
    epoch = make_monitor(model, make_optimizer(model)).end_epoch(train_loss=loss, val_score=0.5)
    assert epoch.train_loss == approx(float(loss.detach()))
    assert [warning for warning in recwarn if "requires_grad" in str(warning.message)] == []


def test_an_epoch_after_the_end_is_refused():
    model = make_mlp()
    monitor = make_monitor(model, make_optimizer(model))
    monitor.end_epoch(val_score=0.5)
    monitor.finish()
    with pytest.raises(RuntimeError, match=r"end_epoch\(\) after finish\(\)"):
        monitor.end_epoch(val_score=0.5)


# ---- with NNI, and without


class Channel(TrialCommandChannel):
    def __init__(self, is_broken):
        self.values = []
        self.is_broken = is_broken

    def receive_parameter(self):
        return {"parameter_id": 3, "parameters": {"units": 8}}

    def send_metric(self, type, parameter_id, trial_job_id, sequence, value):
        if self.is_broken:
            raise ConnectionError("the manager is away")
        self.values.append((type, sequence, value))


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_trial_inside_nni_reports_its_real_parameters_and_outlives_a_broken_channel(is_broken, monkeypatch, tmp_path):
    environment = env_vars.trial_env_vars._replace(
        NNI_PLATFORM="local", NNI_TRIAL_JOB_ID="abcde", NNI_OUTPUT_DIR=str(tmp_path)
    )
    monkeypatch.setattr(env_vars, "trial_env_vars", environment)
    monkeypatch.setattr("nni.trial.trial_env_vars", environment)
    monkeypatch.setattr("nni.trial._params", None)
    monkeypatch.setattr("nni.trial._intermediate_seq", 0)
    monkeypatch.setattr(trial_command_channel, "_channel", None)
    channel = Channel(is_broken)
    set_default_trial_command_channel(channel)
    nni.get_next_parameter()
    model, batches = make_problem("mlp")
    optimizer = make_optimizer(model)

    monitor = FeedbackMonitor(model, optimizer, optimize_mode="maximize", reporter=TrialReporter(retry_delays=(0, 0)))
    for score in (0.5, 0.6):
        train_epoch(model, optimizer, batches)
        monitor.end_epoch(val_score=score)
    feedback = monitor.finish()

    assert len(feedback.epochs) == 2
    lines = [json.loads(line) for line in (tmp_path / "feedback.jsonl").read_text().splitlines()]
    assert [parse_metric(line).parameters for line in lines] == [{"units": 8}] * 3
    expected = [] if is_broken else [("PERIODICAL", 0, 0.5), ("PERIODICAL", 1, 0.6), ("FINAL", 0, 0.6)]
    assert [(kind, sequence, value["default"]) for kind, sequence, value in channel.values] == expected


def test_outside_nni_the_monitor_works_and_knows_no_parameters():
    model, batches = make_problem("mlp")
    optimizer = make_optimizer(model)
    monitor = FeedbackMonitor(model, optimizer, optimize_mode="maximize")
    train_epoch(model, optimizer, batches)
    monitor.end_epoch(val_score=0.5)
    assert monitor.finish().parameters is None
