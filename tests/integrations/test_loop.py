import math

import pytest
import torch
from torch import nn

from nni_dream.integrations.loop import finishing, watched_epochs
from nni_dream.monitor import FeedbackMonitor

BATCHES = 5


def make_trial():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return (
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        torch.randn(BATCHES, 6, 4),
        torch.randint(3, (BATCHES, 6)),
    )


def train(model, optimizer, inputs, labels):
    """Returns the last loss and the accuracy on the last batch."""
    for x, y in zip(inputs, labels, strict=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return {"train_loss": loss.item(), "val_score": (model(x).argmax(1) == y).float().mean().item()}


def test_a_watched_loop_reports_what_a_monitor_by_hand_does_and_trains_the_same_weights(channel):
    model, optimizer, *data = make_trial()
    for _, end_epoch in watched_epochs(3, model, optimizer, optimize_mode="maximize"):
        end_epoch(**train(model, optimizer, *data))
    watched, final = channel.measured, channel.final
    assert [kind for kind, _ in channel.defaults] == ["PERIODICAL"] * 3 + ["FINAL"]

    channel.clear()
    by_hand, optimizer, *data = make_trial()
    monitor = FeedbackMonitor(by_hand, optimizer, optimize_mode="maximize", planned_epochs=3)
    for _ in range(3):
        monitor.end_epoch(**train(by_hand, optimizer, *data))
    monitor.finish()
    assert watched == channel.measured
    assert (final.parameters, final.planned_epochs) == ({"units": 8}, 3)

    unwatched, optimizer, *data = make_trial()
    for _ in range(3):
        train(unwatched, optimizer, *data)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), unwatched.parameters(), strict=True))


def test_epochs_may_go_on_from_a_checkpoint(channel):
    model, optimizer, *data = make_trial()
    seen = []
    for epoch, end_epoch in watched_epochs(range(5, 7), model, optimizer, optimize_mode="maximize"):
        seen.append(epoch)
        end_epoch(**train(model, optimizer, *data))
    assert seen == [5, 6]
    assert channel.final.planned_epochs == 2


def test_a_break_sends_the_final_result_at_once(channel):
    model, optimizer, *data = make_trial()
    for epoch, end_epoch in watched_epochs(9, model, optimizer, optimize_mode="maximize"):
        end_epoch(**train(model, optimizer, *data))
        if epoch == 1:
            break
    assert len(channel.final.epochs) == 2
    assert model[0]._forward_pre_hooks == {}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_the_body_sends_the_final_result_and_goes_on(channel, error):
    model, optimizer, *data = make_trial()

    def run():
        for epoch, end_epoch in watched_epochs(9, model, optimizer, optimize_mode="maximize"):
            end_epoch(**train(model, optimizer, *data))
            if epoch == 1:
                raise error("out of memory")

    with pytest.raises(error, match="out of memory"):
        run()
    assert len(channel.final.epochs) == 2


def test_an_epoch_that_is_not_closed_is_an_error(channel):
    model, optimizer, *data = make_trial()
    epochs = watched_epochs(3, model, optimizer, optimize_mode="maximize")
    _, end_epoch = next(epochs)
    end_epoch(**train(model, optimizer, *data))
    next(epochs)
    with pytest.raises(RuntimeError, match=r"epoch 1 ended with 0 calls of end_epoch\(\), expected 1"):
        next(epochs)
    assert len(channel.final.epochs) == 1


def test_an_epoch_closed_twice_is_an_error(channel):
    model, optimizer, *_ = make_trial()
    epochs = watched_epochs(3, model, optimizer, optimize_mode="maximize")
    _, end_epoch = next(epochs)
    end_epoch(val_score=0.5)
    end_epoch(val_score=0.6)
    with pytest.raises(RuntimeError, match=r"epoch 0 ended with 2 calls of end_epoch\(\), expected 1"):
        next(epochs)


def test_wrong_arguments_are_told_before_the_first_epoch():
    model, optimizer, *_ = make_trial()
    with pytest.raises(ValueError, match="optimize_mode is 'max', expected one of maximize, minimize"):
        watched_epochs(3, model, optimizer, optimize_mode="max")


def test_a_training_that_explodes_is_reported_to_the_end(channel):
    model, optimizer, *data = make_trial()
    optimizer.param_groups[0]["lr"] = 1e30
    for _, end_epoch in watched_epochs(2, model, optimizer, optimize_mode="maximize"):
        numbers = train(model, optimizer, *data)
        end_epoch(**numbers)
    assert math.isnan(numbers["train_loss"])
    assert [epoch.n_nonfinite_losses for epoch in channel.epochs] == [1, 1]
    assert channel.epochs[-1].n_nonfinite_weights > 0


@pytest.mark.parametrize("error", [None, ValueError])
def test_finishing_sends_the_final_result_whatever_ends_the_block(channel, error):
    model, optimizer, *data = make_trial()

    def run():
        with finishing(FeedbackMonitor(model, optimizer, optimize_mode="maximize")) as monitor:
            monitor.end_epoch(**train(model, optimizer, *data))
            if error is not None:
                raise error("no more")

    if error is None:
        run()
    else:
        with pytest.raises(error, match="no more"):
            run()
    assert len(channel.final.epochs) == 1
