"""The README's snippets, taken from it and run."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from e2e.experiment import BIN, REPOSITORY, own_environment, processes_of, write_config

from nni_dream.journal import JOURNAL_NAME, read_journal

pytestmark = pytest.mark.e2e

README = (REPOSITORY / "README.md").read_text()
MY_PROJECT = """
import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(64, 4)
labels = (inputs.sum(dim=1) > 0).long()


def build(parameters):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    return model, torch.optim.SGD(model.parameters(), lr=parameters["learning_rate"])


def train(model, optimizer):
    loss = nn.functional.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def validate(model):
    with torch.no_grad():
        outputs = model(inputs)
    return nn.functional.cross_entropy(outputs, labels), (outputs.argmax(dim=1) == labels).float().mean()
"""


def snippets(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_add_it_to_your_project(tmp_path):
    (tmp_path / "my_project.py").write_text(MY_PROJECT)
    (tmp_path / "trial.py").write_text(snippets("python")[0])
    config = write_config(
        tmp_path,
        searchSpace={"learning_rate": {"_type": "choice", "_value": [0.1, 1.0]}},
        trialCommand="python3 trial.py",
        trialCodeDirectory=str(tmp_path),
        maxTrialNumber=2,
        **yaml.safe_load(snippets("yaml")[0]),
    )
    done = subprocess.run(
        [BIN / "nni-dream", "run", config],
        env=own_environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (journal,) = [path for path in tmp_path.glob(f"experiments/*/log/{JOURNAL_NAME}") if "_latest" not in path.parts]
    results = [event for event in read_journal(journal) if event["event"] == "result"]
    assert [event["n_epochs"] for event in results] == [5, 5]
    assert all(event["condition"].endswith("-NW") for event in results)
    assert processes_of(tmp_path) == []


def test_class_path_form_is_valid_yaml_with_both_classes():
    config = yaml.safe_load(snippets("yaml")[1])
    assert config["tuner"]["className"] == "nni_dream.tuner.DreamTuner"
    assert config["assessor"]["className"] == "nni_dream.assessor.DreamAssessor"


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)$", README, flags=re.MULTILINE))
def test_commands_are_targets_of_the_makefile(target):
    done = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_named_files_exist():
    for path in re.findall(r"`((?:nni_dream|benchmarks|experiment_configs|priority)/[\w/.]+)`", README):
        assert (REPOSITORY / path).exists(), path
