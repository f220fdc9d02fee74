import pytest

from nni_dream.callbacks import dispatcher_of, never_raises, report_error


class Dispatcher:
    def __init__(self):
        self.errors = []

    def send_trial_callback(self): ...

    def report_error(self, reason):
        self.errors.append(reason)


def test_what_a_callback_raises_is_logged_and_the_fallback_returned(caplog):
    @never_raises(fallback=7)
    def callback():
        raise KeyError("why")

    assert callback() == 7
    (entry,) = caplog.records
    assert entry.getMessage().endswith("callback failed and was skipped")
    assert entry.exc_info[0] is KeyError


def test_what_a_callback_returns_is_left_as_it_is():
    assert never_raises(fallback=7)(lambda: 8)() == 8


def test_an_error_is_logged_and_reported_to_the_dispatcher_whose_callback_it_is(caplog):
    dispatcher = Dispatcher()
    assert dispatcher_of(dispatcher.send_trial_callback) is dispatcher
    report_error(dispatcher.send_trial_callback, "why")
    assert dispatcher.errors == [caplog.messages[0]] == ["why"]


@pytest.mark.parametrize("callback", [None, lambda: None])
def test_without_a_dispatcher_an_error_is_logged(callback, caplog):
    assert dispatcher_of(callback) is None
    report_error(callback, "why")
    assert caplog.messages == ["why"]
