import signal

import pytest

from nni_dream.experiments import _interrupts_held


def start(interrupt=None, error=None):
    """A start of NNI, in which a signal comes and then an error; it returns whether it came to its end."""
    done = []
    try:
        with _interrupts_held():
            if interrupt is not None:
                signal.raise_signal(interrupt)
            if error is not None:
                raise error
            done.append("started")
    finally:
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert (error is None) == (done == ["started"])


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_waits_until_nni_has_started(interrupt):
    with pytest.raises(KeyboardInterrupt):
        start(interrupt)


def test_an_interrupt_counts_also_where_nni_did_not_start():
    """Otherwise the next attempt would go on as if nobody had wanted an end."""
    with pytest.raises(KeyboardInterrupt) as caught:
        start(signal.SIGINT, RuntimeError("the web server does not answer"))
    assert isinstance(caught.value.__context__, RuntimeError)


def test_without_an_interrupt_an_error_stays_what_it_is():
    start()
    with pytest.raises(RuntimeError, match="does not answer"):
        start(error=RuntimeError("the web server does not answer"))
