"""NNI's own web page in a real browser: our numbers as columns of the trial table and as curves of its chart."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from e2e.experiment import BIN, created_by_nnictl, own_environment, wait_until_done, write_config
from playwright.sync_api import expect, sync_playwright
from waiting import wait_until

from nni_dream.journal import JOURNAL_NAME, read_journal

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"),
]

PATIENCE_MILLISECONDS = 60_000  # on a busy machine a page takes long to be drawn
expect.set_options(timeout=PATIENCE_MILLISECONDS)

N_EPOCHS = 4
NAN_TRIAL, HEALTHY_TRIAL = 0, 1  # in the order of the table
# The curve's colour in NNI's chart, counted below the legend, which shows the colour too.
COUNT_CURVE_PIXELS = """canvas => {
    const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 4 * width * Math.floor(height * 0.2); i < data.length; i += 4)
        if (Math.abs(data[i] - 84) + Math.abs(data[i + 1] - 112) + Math.abs(data[i + 2] - 198) < 60) n++;
    return n;
}"""
MIN_CURVE_PIXELS = 300  # a line over the whole chart; one lone point has about 30


@dataclass(frozen=True)
class Experiment:
    address: str
    journal: Path

    def jobs(self):
        return requests.get(f"{self.address}/api/v1/nni/trial-jobs", timeout=20).json()

    def results(self):
        return [event for event in read_journal(self.journal) if event["event"] == "result"]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """An ended experiment with two trials: the weights of the first became NaN.  A later test may add more."""
    folder = tmp_path_factory.mktemp("web")
    config = write_config(
        folder,
        searchSpace={"growth": {"_type": "choice", "_value": [1.0, 1.1, 1.2, 1e10]}},
        trialCommand="python3 exploding.py",
        trialCodeDirectory=str(Path(__file__).parent / "trials"),
        maxTrialNumber=2,
        tuner={"name": "Dream", "classArgs": {"seed": 1, "initial_parameters": [{"growth": 1e10}]}},
        assessor=None,  # it would stop the trial before there is much to see
    )
    subprocess.run([BIN / "nni-dream", "register"], env=own_environment(folder), check=True, capture_output=True)
    with created_by_nnictl(folder, config) as (experiment_id, address):
        wait_until_done(address)
        yield Experiment(address, folder / "experiments" / experiment_id / "log" / JOURNAL_NAME)


@pytest.fixture
def page(experiment):
    # The page asks for fonts from elsewhere; what it draws does not depend on them.
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 1900, "height": 1000})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        show_trials(page, experiment)
        yield page
        browser.close()
    assert errors == []


def show_trials(page, experiment):
    page.goto(f"{experiment.address}/detail")
    expect(page.get_by_text("Add/Remove columns")).to_be_visible()


def set_number(page, experiment, name, number):
    """Change one of the two numbers on the overview: ``maxTrialNumber`` or ``trialConcurrency``."""
    page.goto(f"{experiment.address}/oview")
    page.locator(f".{name}.show-params").click()
    page.locator(f"input.{name}").fill(str(number))
    page.locator(".edit-params .confirm").click()
    expect(page.get_by_text(f"Successfully updated experiment's {name}")).to_be_visible()


def submit_customized_trial(page, trial, parameter, value):
    """Copy a trial of the table with another value, which may lie outside the search space."""
    trial_row(page, trial).get_by_role("button", name="Customized trial").click()
    page.locator(f".hyper-box input[name={parameter}]").fill(value)
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="Confirm").click()  # "this may cause the tuner to crash"


def add_columns(page, *labels):
    page.get_by_text("Add/Remove columns").click()
    for label in labels:
        page.get_by_text(label, exact=True).click()
    page.get_by_role("button", name="Save").click()


def trial_row(page, index):
    return page.locator(".ms-DetailsRow").nth(index)


def test_our_numbers_are_columns(page):
    add_columns(page, "gradient_ratio (metric)", "dead_unit_share (metric)", "n_nonfinite_weights (metric)")
    for column in ("gradient_ratio", "dead_unit_share", "n_nonfinite_weights"):
        expect(page.locator(".ms-DetailsHeader").get_by_text(column)).to_be_visible()
    n_weights = 8 * 16 + 16 + 16 * 2 + 2
    expect(trial_row(page, NAN_TRIAL)).to_contain_text(str(n_weights))
    expect(trial_row(page, HEALTHY_TRIAL)).not_to_contain_text(str(n_weights))


def test_every_column_at_once_does_not_break_the_page(page):
    add_columns(page, "Select all")
    expect(page.locator(".ms-DetailsHeader").get_by_text("dream (metric)")).to_be_attached()
    expect(trial_row(page, NAN_TRIAL)).to_be_visible()


def wait_for_curve(page, trial, metric, drawn):
    """Choose a metric in a trial's chart and wait until what is drawn fulfils a condition on its ``n`` pixels."""
    trial_row(page, trial).get_by_role("button", name="Intermediate").click()
    modal = page.locator(".ms-Modal")
    modal.get_by_role("combobox").click()
    page.get_by_role("option", name=metric, exact=True).click()
    page.wait_for_function(
        f"canvas => {{ const n = ({COUNT_CURVE_PIXELS})(canvas); return {drawn}; }}",
        arg=modal.locator("canvas").element_handle(),
        timeout=PATIENCE_MILLISECONDS,
    )


@pytest.mark.parametrize("trial", [NAN_TRIAL, HEALTHY_TRIAL], ids=["nan-weights", "healthy"])
@pytest.mark.parametrize("metric", ["default", "n_nonfinite_weights", "dead_unit_share"])
def test_the_chart_draws_every_epoch(page, trial, metric):
    wait_for_curve(page, trial, metric, drawn=f"n >= {MIN_CURVE_PIXELS}")


def test_the_chart_leaves_out_what_is_not_finite(page):
    """The gradient ratio of the first epoch is a number, those after the explosion are not: one point, no curve."""
    wait_for_curve(page, NAN_TRIAL, "gradient_ratio", drawn=f"0 < n && n < {MIN_CURVE_PIXELS}")


def test_an_experiment_that_is_changed_on_the_page(page, experiment):
    """More trials, two at once, one of them the user's own, with a value that the search space does not have."""
    n_before = len(experiment.jobs())
    set_number(page, experiment, "maxTrialNumber", n_before + 2)
    show_trials(page, experiment)
    submit_customized_trial(page, HEALTHY_TRIAL, "growth", "1.25")
    set_number(page, experiment, "trialConcurrency", 2)
    wait_until(lambda: len(experiment.jobs()) == n_before + 2, "the start of two trials")
    wait_until_done(experiment.address)
    assert [job["status"] for job in experiment.jobs()] == ["SUCCEEDED"] * (n_before + 2)

    def by_value():
        return {event["parameters"]["growth"]: event for event in experiment.results()}

    # The search goes on, and knows the customized trial by what it reported; NNI's DONE may come before the results.
    wait_until(lambda: len(by_value()) == n_before + 2, "every result")
    customized = by_value()[1.25]
    assert customized["score"] is not None
    assert customized["condition"] == "*-NC-NG-NW"
