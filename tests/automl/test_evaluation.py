import math

import pytest
import torch
from torch import nn

from nni_dream.automl.evaluation import Samples, TrainingError, evaluate, evaluate_in_memory, loss_of_mean, mean_loss


def test_what_is_not_a_number_is_no_right_answer():
    class Echo(nn.Linear):
        def forward(self, inputs):
            return inputs

    outputs = torch.tensor([[2.0, 1.0], [math.nan, math.nan], [math.nan, 0.0], [math.inf, 0.0]])
    score = evaluate(Echo(1, 1), Samples(outputs, torch.zeros(4, dtype=torch.long)))
    assert score.accuracy == 2 / 4


@pytest.mark.parametrize("largest", [512, 100, 1])
def test_what_does_not_fit_into_memory_is_scored_in_smaller_batches(largest):
    sizes = []

    class Hungry(nn.Linear):
        def forward(self, inputs):
            if len(inputs) > largest:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            sizes.append(len(inputs))
            return super().forward(inputs)

    samples = Samples(torch.rand(130, 4), torch.arange(130) % 3)
    model = Hungry(4, 3)
    score = evaluate_in_memory(model, samples)
    assert max(sizes) == {512: 130, 100: 64, 1: 1}[largest]
    assert score == pytest.approx(evaluate(model, samples, batch_size=1))


def test_a_sample_that_does_not_fit_into_memory_is_told():
    class Hungry(nn.Linear):
        def forward(self, inputs):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(TrainingError, match="out of memory with one sample in a batch"):
        evaluate_in_memory(Hungry(4, 3), Samples(torch.rand(3, 4), torch.arange(3)))


def test_evaluate_in_batches_equals_evaluate_at_once():
    generator = torch.Generator().manual_seed(3)
    images = Samples(torch.randn(1100, 1, 8, 8, generator=generator), torch.arange(1100) % 10)  # three batches
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    score = evaluate(model, images)
    logits = model(images.inputs)
    assert score.loss == pytest.approx(nn.functional.cross_entropy(logits, images.targets).item(), rel=1e-5)
    assert score.accuracy == pytest.approx((logits.argmax(1) == images.targets).float().mean().item())


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)])
def test_the_loss_of_always_saying_the_mean(shape):
    targets = torch.arange(math.prod(shape)).float().reshape(shape) ** 2
    said = targets.mean(dim=0).expand(shape).reshape(len(targets), -1)
    assert loss_of_mean(targets) == pytest.approx(mean_loss(said, targets, "regression").item())


def test_the_loss_of_constant_targets_is_one_so_that_it_can_divide():
    assert loss_of_mean(torch.full((4, 2), 7.0)) == 1.0
