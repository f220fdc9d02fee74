"""The callback in real trainings of a tiny BERT, against a plain monitor in the same training written by hand."""

import logging

import numpy as np
import pytest
import torch

from nni_dream.integrations.metric_names import MissingMetricError
from nni_dream.integrations.transformers import DreamCallback  # before transformers: it mends torchvision
from nni_dream.monitor import FeedbackMonitor

from transformers import (  # isort: skip
    BertConfig,
    BertForSequenceClassification,
    EarlyStoppingCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

N_ROWS = 48
BATCH_SIZE = 8
MAX_SCORE = {"monitor": "accuracy", "mode": "max"}


def make_rows():
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 30, (N_ROWS, 6), generator=generator)
    return [{"input_ids": row, "labels": int(row[0] > 15)} for row in tokens]


def make_model(dropout=0.0):
    set_seed(0)
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertForSequenceClassification(config)


def accuracy(prediction):
    return {"accuracy": float((np.argmax(prediction.predictions, axis=1) == prediction.label_ids).mean())}


def make_trainer(folder, *callbacks, model=None, eval_dataset=None, **arguments):
    arguments = {"eval_strategy": "epoch", "logging_strategy": "epoch", "num_train_epochs": 3, **arguments}
    return Trainer(
        make_model() if model is None else model,
        TrainingArguments(
            str(folder),
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=0.01,
            lr_scheduler_type="constant",
            report_to="none",
            save_strategy=arguments.pop("save_strategy", "no"),
            disable_tqdm=True,
            use_cpu=True,
            seed=0,
            **arguments,
        ),
        train_dataset=make_rows(),
        eval_dataset=make_rows() if eval_dataset is None else eval_dataset,
        compute_metrics=accuracy,
        callbacks=list(callbacks),
    )


def are_equal(model, other):
    return all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


class BatchRecorder:
    """A data set's rows in the order in which the Trainer took them."""

    def __init__(self, rows):
        self.rows = rows
        self.taken = []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        self.taken.append(index)
        return self.rows[index]


def test_the_numbers_are_those_of_a_plain_monitor(channel, tmp_path):
    trainer = make_trainer(tmp_path, DreamCallback(**MAX_SCORE), weight_decay=0.0, optim="adamw_torch")
    recorder = trainer.train_dataset = BatchRecorder(make_rows())
    trainer.train()
    in_callback, evaluated = channel.measured, channel.epochs
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL"] * 3 + ["FINAL"]
    assert (channel.final.parameters, channel.final.planned_epochs) == ({"units": 8}, 3)
    channel.clear()

    model = make_model()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    monitor = FeedbackMonitor(model, optimizer)
    order = iter(torch.tensor(recorder.taken).split(BATCH_SIZE))
    for epoch in evaluated:
        for _ in range(N_ROWS // BATCH_SIZE):
            batch = [recorder.rows[i] for i in next(order)]
            optimizer.zero_grad()
            tokens, labels = torch.stack([row["input_ids"] for row in batch]), [row["labels"] for row in batch]
            model(input_ids=tokens, labels=torch.tensor(labels)).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # the Trainer's default
            optimizer.step()
        numbers = {name: getattr(epoch, name) for name in ("train_loss", "val_loss", "val_score")}
        monitor.end_epoch(**numbers)  # the Trainer's own, tested below
    assert are_equal(model, trainer.model)
    assert in_callback == channel.measured


def test_losses_and_score_are_those_that_the_trainer_logs(channel, tmp_path):
    trainer = make_trainer(tmp_path, DreamCallback(**MAX_SCORE))
    trainer.train()
    history = trainer.state.log_history
    for ours, key in (("train_loss", "loss"), ("val_loss", "eval_loss"), ("val_score", "eval_accuracy")):
        theirs = [log[key] for log in history if key in log]
        assert [getattr(epoch, ours) for epoch in channel.epochs] == [
            pytest.approx(value, rel=1e-3) for value in theirs
        ]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"gradient_accumulation_steps": 2},
        {"bf16": True},
        {"eval_strategy": "steps", "eval_steps": 4, "logging_strategy": "steps", "logging_steps": 2},
    ],
    ids=["plain", "accumulated", "bf16", "steps"],
)
def test_the_callback_does_not_change_the_training(channel, tmp_path, arguments):
    models = []
    for callbacks in ([DreamCallback(**MAX_SCORE)], []):
        trainer = make_trainer(tmp_path, *callbacks, model=make_model(dropout=0.1), num_train_epochs=2, **arguments)
        trainer.train()
        models.append(trainer.model)
    assert are_equal(*models)
    assert channel.epochs[-1].gradient_norm > 0


def test_evaluation_steps_are_rows_with_the_mean_loss_since_the_row_before(channel, tmp_path):
    trainer = make_trainer(
        tmp_path, DreamCallback(**MAX_SCORE), eval_strategy="steps", eval_steps=4, logging_strategy="steps",
        logging_steps=1,
    )  # fmt: skip
    trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert len(losses) == 18
    expected = [sum(losses[i : i + 4]) / len(losses[i : i + 4]) for i in range(0, 18, 4)]
    assert [epoch.train_loss for epoch in channel.epochs] == [pytest.approx(loss, rel=1e-3) for loss in expected]
    assert channel.final.planned_epochs == 5  # the last one after two steps


def test_an_evaluation_without_a_logged_loss_is_reported_with_a_warning(channel, tmp_path, caplog):
    make_trainer(tmp_path, DreamCallback(**MAX_SCORE), logging_strategy="no", num_train_epochs=1).train()
    assert channel.epochs[0].train_loss is None
    assert "no training loss was logged since the last evaluation" in caplog.text


def test_the_score_may_be_one_of_several_evaluation_sets(channel, tmp_path):
    sets = {"easy": make_rows()[:8], "hard": make_rows()[8:]}
    make_trainer(
        tmp_path,
        DreamCallback(monitor="eval_hard_accuracy", mode="max", val_loss="easy_loss"),
        eval_dataset=sets,
        num_train_epochs=2,
    ).train()
    assert len(channel.epochs) == 2
    assert channel.epochs[0].val_loss > 0


def test_an_evaluation_before_the_first_step_and_those_after_training_are_no_rows(channel, tmp_path):
    trainer = make_trainer(tmp_path, DreamCallback(**MAX_SCORE), eval_on_start=True, num_train_epochs=2)
    trainer.train()
    trainer.evaluate()
    assert [epoch.epoch for epoch in channel.epochs] == [0, 1]
    assert channel.values[-1][0] == "FINAL"


def test_an_early_stop_ends_with_the_final_result_of_the_weights_as_they_were_trained(channel, tmp_path):
    trainer = make_trainer(
        tmp_path,
        DreamCallback(monitor="eval_loss", mode="min"),
        EarlyStoppingCallback(1, early_stopping_threshold=100.0),
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        num_train_epochs=5,
    )
    trainer.train()
    assert len(channel.final.epochs) == 2
    assert [epoch.val_score for epoch in channel.epochs] == [epoch.val_loss for epoch in channel.epochs]


def test_a_training_that_explodes_is_reported_to_the_end(channel, tmp_path):
    model = make_model()
    with torch.no_grad():
        model.classifier.weight.fill_(float("nan"))
    make_trainer(tmp_path, DreamCallback(**MAX_SCORE), model=model, logging_nan_inf_filter=False).train()
    last = channel.epochs[-1]
    assert len(channel.epochs) == 3
    assert (last.train_loss, last.val_loss, last.n_nonfinite_losses) == (None, None, 2)
    assert last.n_nonfinite_weights > 0


def test_after_an_exception_the_result_is_sent_at_finish(channel, tmp_path):
    callback = DreamCallback(**MAX_SCORE)
    trainer = make_trainer(tmp_path, callback)
    recorder = trainer.train_dataset = BatchRecorder(make_rows())

    def out_of_memory(module, inputs):
        if len(recorder.taken) > N_ROWS:  # in the second epoch
            raise RuntimeError("out of memory")

    trainer.model.classifier.register_forward_pre_hook(out_of_memory)
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.train()
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL"]
    callback.finish()
    assert len(channel.final.epochs) == 1


def test_a_second_training_goes_on_if_it_was_announced(channel, tmp_path):
    callback = DreamCallback(n_fits=2, **MAX_SCORE)
    trainer = make_trainer(tmp_path, callback, num_train_epochs=2)
    trainer.train()
    trainer.train()
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL"] * 4 + ["FINAL"]
    assert channel.epochs[-1].gradient_norm > 0
    assert channel.final.planned_epochs is None


def test_a_second_training_that_was_not_announced_is_not_watched(channel, tmp_path, caplog):
    trainer = make_trainer(tmp_path, DreamCallback(**MAX_SCORE), num_train_epochs=1)
    trainer.train()
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert len(channel.values) == 2
    assert "this fit is not watched" in caplog.text


def test_a_metric_that_is_not_evaluated_is_an_error_that_names_those_that_are(channel, tmp_path):
    trainer = make_trainer(tmp_path, DreamCallback(monitor="f1", mode="max"))
    with pytest.raises(
        MissingMetricError,
        match=r"monitor is 'eval_f1', but the metrics are .*eval_accuracy, eval_loss.*compute_metrics",
    ):
        trainer.train()
    assert channel.values == []


def test_a_training_that_evaluates_nothing_is_refused(tmp_path):
    trainer = make_trainer(tmp_path, DreamCallback(**MAX_SCORE), eval_strategy="no")
    with pytest.raises(ValueError, match="eval_strategy is 'no', but 'eval_accuracy' rates the trial: set it to"):
        trainer.train()
