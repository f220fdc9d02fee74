"""A figure replaces a file as a whole, or leaves it as it was."""

import pytest
from matplotlib.figure import Figure

from nni_dream.report.figures import save_figure


def test_a_figure_replaces_the_file_that_was_there(tmp_path):
    path = tmp_path / "search.png"
    path.write_text("old")
    save_figure(Figure(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_drawn_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "search.bogus"
    path.write_text("old")
    with pytest.raises(ValueError, match="bogus"):
        save_figure(Figure(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
