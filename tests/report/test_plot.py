"""The picture of a search: whatever the search was like, there is one."""

import struct

import pytest

from nni_dream.report.plot import plot_search
from nni_dream.report.summary import summarise


def search(n_trials, action="lr=0.1"):
    yield {"event": "start", "version": "0.1", "seed": 1, "settings": {"optimize_mode": "maximize"}}
    for trial in range(n_trials):
        parameters = {"lr": trial}
        told = {"candidate": 0, "action": action, "condition": "OA-NC-NG-NW", "kind": "action"}
        yield {"event": "suggestion", "trial": trial, "parameters": parameters, **told}
        fields = {"job": f"job{trial}", "condition": "OA-NC-NG-NW", "n_epochs": 5, "status": "succeeded"}
        yield {"event": "result", "trial": trial, "parameters": parameters, "score": trial / n_trials, **fields}


def size_of(path):
    """Width and height of a PNG, in pixels."""
    return struct.unpack(">II", path.read_bytes()[16:24])


def drawn(tmp_path, events):
    plot_search(summarise(events), tmp_path / "search.png")
    return size_of(tmp_path / "search.png")


def test_each_trial_has_room_for_its_label(tmp_path):
    narrow, wide = (drawn(tmp_path, search(n)) for n in (20, 40))
    assert wide[0] > 1.7 * narrow[0]


def test_a_search_without_trials(tmp_path):
    assert min(drawn(tmp_path, [])) > 0


def test_a_long_search_is_no_wider_than_a_picture_can_be(tmp_path):
    assert drawn(tmp_path, search(1000))[0] <= 8000


@pytest.mark.parametrize("action", ["path=$HOME_$USER", "f=${A}_${B}", "pattern=^a$|b_$"])
def test_values_with_dollars_are_no_formulas(tmp_path, action):
    assert min(drawn(tmp_path, search(3, action))) > 0
