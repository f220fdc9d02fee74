"""The callback in real fits of Lightning, against a plain monitor in the same training written by hand."""

import logging
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from nni_dream.integrations.lightning import (  # before Lightning: it mends torchvision where it must
    DreamCallback,
    _usual_train_score,
)
from nni_dream.integrations.metric_names import MissingMetricError
from nni_dream.monitor import FeedbackMonitor

import lightning.pytorch as pl  # isort: skip
import pytorch_lightning  # isort: skip
from lightning.pytorch.callbacks import EarlyStopping  # isort: skip

N_BATCHES = 6
MAX_SCORE = {"monitor": "val_acc", "mode": "max"}


def make_batches():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(N_BATCHES, 8, 4, generator=generator)
    return list(zip(inputs, (inputs.sum(2) > 0).long(), strict=True))


def make_loader():
    return DataLoader(make_batches(), batch_size=None)


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


class ClassifierSteps:
    def __init__(self, learning_rate=0.1, scheduled=False):
        super().__init__()
        self.net = make_net()
        self.learning_rate = learning_rate
        self.scheduled = scheduled
        self.raise_in_epoch = None

    def training_step(self, batch, batch_idx):
        if self.current_epoch == self.raise_in_epoch:
            raise RuntimeError("out of memory")
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        logits = self.net(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.learning_rate, momentum=0.9)
        if not self.scheduled:
            return optimizer
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]


class Classifier(ClassifierSteps, pl.LightningModule):
    pass


class OldClassifier(ClassifierSteps, pytorch_lightning.LightningModule):
    """Of the same library under its old name, with classes of its own."""


class TwoOptimizers(Classifier):
    """Lightning's manual optimization: body and head in turns."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        self.optimizers()[batch_idx % 2].step()

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net[i].parameters(), lr=0.1) for i in (0, 2)]


class NoValidation(Classifier):
    validation_step = pl.LightningModule.validation_step


def make_trainer(*callbacks, library=pl, max_epochs=3, **arguments):
    return library.Trainer(
        max_epochs=max_epochs,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )


def fit(model, *callbacks, **arguments):
    trainer = make_trainer(*callbacks, **arguments)
    trainer.fit(model, make_loader(), make_loader())
    return trainer


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def are_equal(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def mean(numbers):
    return torch.stack(numbers).mean().item()


def train_by_hand(model, n_epochs, n_accumulated=1, clip=None, scheduled=False):
    """The same training with a plain monitor around it, in plain torch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    monitor = FeedbackMonitor(model, optimizer, planned_epochs=n_epochs)
    for _ in range(n_epochs):
        losses = []
        for i, (x, y) in enumerate(make_batches()):
            if i % n_accumulated == 0:
                optimizer.zero_grad()
            loss = F.cross_entropy(model.net(x), y)
            losses.append(loss.detach())
            (loss / n_accumulated).backward()
            if i % n_accumulated == n_accumulated - 1:
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
        with torch.no_grad():
            validated = [(model.net(x), y) for x, y in make_batches()]
        monitor.end_epoch(
            train_loss=mean(losses),
            val_loss=mean([F.cross_entropy(logits, y) for logits, y in validated]),
            val_score=mean([(logits.argmax(1) == y).float().mean() for logits, y in validated]),
        )
        if scheduled:
            optimizer.param_groups[0]["lr"] *= 0.5
    monitor.finish()


@pytest.mark.parametrize(
    ("library", "model_class"), [(pl, Classifier), (pytorch_lightning, OldClassifier)], ids=["lightning", "old_name"]
)
def test_a_fit_is_reported_epoch_by_epoch(channel, library, model_class):
    fit(model_class(), DreamCallback(**MAX_SCORE), library=library)
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL"] * 3 + ["FINAL"]
    assert (channel.final.parameters, channel.final.planned_epochs) == ({"units": 8}, 3)


@pytest.mark.parametrize(
    ("by_hand", "in_lightning"),
    [
        ({}, {}),
        ({"n_accumulated": 2}, {"accumulate_grad_batches": 2}),
        ({"clip": 0.05}, {"gradient_clip_val": 0.05}),
    ],
    ids=["plain", "accumulated", "clipped"],
)
def test_the_numbers_are_those_of_a_plain_monitor(channel, by_hand, in_lightning):
    model = Classifier()
    fit(model, DreamCallback(**MAX_SCORE), **in_lightning)
    in_callback = channel.measured
    channel.clear()

    plain = Classifier()
    train_by_hand(plain, 3, **by_hand)
    assert in_callback == channel.measured
    assert are_equal(weights(model), weights(plain))


def test_the_learning_rate_is_the_one_of_the_epoch_not_of_the_next(channel):
    fit(Classifier(scheduled=True), DreamCallback(**MAX_SCORE))
    in_callback = channel.measured
    channel.clear()
    train_by_hand(Classifier(), 3, scheduled=True)
    assert in_callback == channel.measured
    assert [epoch.learning_rate for epoch in channel.epochs] == [0.1, 0.05, 0.025]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"accumulate_grad_batches": 2, "gradient_clip_val": 0.05},
        {"precision": "bf16-mixed"},
        {"val_check_interval": 0.5},
    ],
)
def test_the_callback_does_not_change_the_training(channel, arguments):
    watched, unwatched = Classifier(), Classifier()
    fit(watched, DreamCallback(**MAX_SCORE), **arguments)
    fit(unwatched, **arguments)
    assert are_equal(weights(watched), weights(unwatched))
    assert channel.epochs[-1].gradient_norm > 0


def test_several_validations_in_an_epoch_are_a_row_each(channel):
    fit(Classifier(), DreamCallback(**MAX_SCORE), max_epochs=2, val_check_interval=0.5)
    assert len(channel.epochs) == 4
    assert channel.final.planned_epochs == 4


def test_validation_every_second_epoch_is_a_row_of_two_epochs(channel):
    fit(Classifier(), DreamCallback(**MAX_SCORE), max_epochs=4, check_val_every_n_epoch=2)
    assert len(channel.epochs) == 2
    assert channel.final.planned_epochs == 2


def test_the_sanity_check_and_a_validation_outside_of_the_fit_are_no_rows(channel):
    callback, model = DreamCallback(n_fits=2, **MAX_SCORE), Classifier()
    for _ in range(2):
        trainer = make_trainer(callback, max_epochs=1, num_sanity_val_steps=2)
        trainer.fit(model, make_loader(), make_loader())
        trainer.validate(model, make_loader(), verbose=False)
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL", "PERIODICAL", "FINAL"]


def test_several_optimizers_are_each_read_at_their_own_steps(channel):
    fit(TwoOptimizers(), DreamCallback(**MAX_SCORE))
    norms = channel.epochs[-1].layers.gradient_norms
    assert len(norms) == 2
    assert all(norm > 0 for norm in norms)


def test_without_validation_a_training_epoch_is_a_row(channel):
    make_trainer(DreamCallback(monitor="train_loss", mode="min")).fit(NoValidation(), make_loader())
    assert len(channel.epochs) == 3
    assert all(epoch.val_score == epoch.train_loss for epoch in channel.epochs)
    assert channel.final.planned_epochs == 3


def test_a_minimised_loss_is_the_score(channel):
    fit(Classifier(), DreamCallback(monitor="val_loss", mode="min"))
    losses = [epoch.val_loss for epoch in channel.epochs]
    assert [epoch.val_score for epoch in channel.epochs] == losses
    assert channel.defaults[-1] == ("FINAL", pytest.approx(min(losses), rel=1e-3))


def test_an_early_stop_ends_with_the_final_result(channel):
    fit(Classifier(), DreamCallback(**MAX_SCORE), EarlyStopping("val_acc", min_delta=2, patience=1, mode="max"))
    assert len(channel.final.epochs) == 2


def test_an_exception_sends_the_final_result_and_goes_on(channel):
    model = Classifier()
    model.raise_in_epoch = 2
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(model, DreamCallback(**MAX_SCORE))
    assert len(channel.final.epochs) == 2
    assert model.net[0]._forward_pre_hooks == {}


def test_a_training_that_explodes_is_reported_to_the_end(channel):
    fit(Classifier(learning_rate=1e30), DreamCallback(**MAX_SCORE))
    last = channel.epochs[-1]
    assert len(channel.epochs) == 3
    assert (last.train_loss, last.val_loss) == (None, None)
    assert last.n_nonfinite_losses == 2
    assert last.n_nonfinite_weights > 0


def test_a_second_fit_goes_on_if_it_was_announced(channel):
    callback = DreamCallback(n_fits=2, planned_epochs=4, **MAX_SCORE)
    model = Classifier()
    for _ in range(2):  # each with an optimizer of its own
        make_trainer(callback, max_epochs=2).fit(model, make_loader(), make_loader())
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL"] * 4 + ["FINAL"]
    assert [epoch.epoch for epoch in callback.feedback.epochs] == [0, 1, 2, 3]
    assert channel.epochs[-1].gradient_norm > 0
    assert channel.final.planned_epochs == 4


def test_a_second_fit_that_was_not_announced_is_not_watched(channel, caplog):
    callback, model = DreamCallback(**MAX_SCORE), Classifier()
    fit(model, callback, max_epochs=1)
    with caplog.at_level(logging.WARNING):
        fit(model, callback, max_epochs=1)
    assert len(channel.values) == 2
    assert "this fit is not watched: the trial's final result is sent; n_fits=2 would take it in" in caplog.text


def test_another_model_needs_another_callback(channel):
    callback = DreamCallback(n_fits=2, **MAX_SCORE)
    fit(Classifier(), callback, max_epochs=1)
    with pytest.raises(ValueError, match="this fit trains another model than the one before"):
        fit(Classifier(), callback, max_epochs=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"monitor": "val_f1", "mode": "max"},
            r"monitor is 'val_f1', but the metrics are .*val_acc, val_loss; self.log\(\) it in validation_step",
        ),
        ({"train_score": "train_acc", **MAX_SCORE}, "train_score is 'train_acc', but the metrics are train_loss, val_"),
    ],
)
def test_a_metric_that_is_not_logged_is_an_error_that_names_those_that_are(channel, arguments, words):
    with pytest.raises(MissingMetricError, match=words):
        fit(Classifier(), DreamCallback(**arguments))
    assert channel.values == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"monitor": "val_acc", "mode": "maximize"}, ValueError, "mode is 'maximize', expected one of max, min"),
        ({"n_fits": 0, **MAX_SCORE}, ValueError, "n_fits is 0, expected 1 or more"),
        ({"optimizer": 1, **MAX_SCORE}, TypeError, "unknown argument 'optimizer', FeedbackMonitor takes architecture,"),
    ],
)
def test_wrong_arguments_are_told_at_once(arguments, error, words):
    with pytest.raises(error, match=words):
        DreamCallback(**arguments)


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [
        ("val_acc", "train_acc"),
        ("val/acc", "train/acc"),
        ("valid_acc", "train_acc"),
        ("validation_acc", "train_acc"),
        ("acc", None),
        ("value", None),
        ("interval_acc", None),
    ],
)
def test_the_training_score_has_the_name_of_the_validation_score(monitor, expected):
    """A metric that does not begin with "val" has none: it would be the same one."""
    assert _usual_train_score(monitor).get("train_score") == expected


TWO_PROCESSES = """
import sys
from pathlib import Path
import torch
from nni_dream.integrations.lightning import DreamCallback
from nni_dream.reporting import TrialReporter
import lightning.pytorch as pl

class FileReporter(TrialReporter):
    def report_intermediate(self, metric):
        self._write("intermediate", metric)

    def report_final(self, metric):
        self._write("final", metric)

    def _write(self, kind, metric):
        with Path(sys.argv[1], f"rank_{trainer.global_rank}").open("a") as file:
            print(kind, metric["gradient_norm"] > 0, file=file)

class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 2)

    def training_step(self, batch, batch_idx):
        return self.net(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val_acc", 0.5, sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

class Finish(pl.Callback):
    def on_fit_end(self, trainer, pl_module):
        Path(sys.argv[1], f"done_{trainer.global_rank}_{len(callback.feedback.epochs)}").touch()

callback = DreamCallback(monitor="val_acc", mode="max", reporter=FileReporter())
loader = torch.utils.data.DataLoader(torch.randn(4, 8, 4), batch_size=None)
trainer = pl.Trainer(
    max_epochs=2, callbacks=[callback, Finish()], accelerator="cpu", strategy="ddp_fork", devices=2, logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(Classifier(), loader, loader)
"""


@pytest.mark.slow
def test_of_two_processes_only_the_first_reports(tmp_path):
    script = tmp_path / "trial.py"
    script.write_text(TWO_PROCESSES)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, script, tmp_path], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert process.returncode == 0, process.stderr
    assert sorted(path.name for path in tmp_path.glob("[dr]*")) == ["done_0_2", "done_1_2", "rank_0"]
    assert (tmp_path / "rank_0").read_text().splitlines() == ["intermediate True", "intermediate True", "final True"]
