"""From the model that a trial has kept to a folder to take away; the folder is there as a whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nni_dream.automl.data import DataError, MissingDataError
from nni_dream.automl.digits import load_digits_split
from nni_dream.automl.evaluation import Samples, TrainingError, evaluate_in_memory
from nni_dream.automl.exported import ExportedModel, load_exported
from nni_dream.automl.exported_card import CARD_FILE, PAGE_FILE, SearchFacts, TestScore, card_of, page_of
from nni_dream.automl.exported_files import WEIGHTS_FILE, write_model
from nni_dream.automl.exported_onnx import CHECKED_BATCHES, ONNX_FILE, TOLERANCE, check_onnx, write_onnx
from nni_dream.automl.kept_model import ModelDescription, load_model
from nni_dream.automl.samples import test_samples
from nni_dream.automl.task import load_data, objective_of

__all__ = ["ExportError", "Exported", "export_model"]


class ExportError(ValueError):
    """A model cannot be exported there."""


class Exported(NamedTuple):
    card: dict[str, Any]
    test: TestScore


def export_model(
    kept: Path,
    target: Path,
    facts: SearchFacts,
    *,
    data_dir: Path | None = None,
    with_test: bool = True,
    with_onnx: bool = False,
) -> Exported:
    """Write a model, its card and, if wanted, its ONNX file; score it on test where the data are there.

    Args:
        kept: Folder with the model of a trial.
        target: Folder to be made; what is there is never changed.
        data_dir: Where the test data are; ``None``: where the trial found them.

    Raises:
        ExportError: If the target is there already.
        KeptModelError: If the kept model cannot be read.
        OnnxError: If the model cannot be written as ONNX, or answers differently there.
        OSError: If the target cannot be written.
    """
    model, description = load_model(kept)
    with _draft_of(target) as draft:
        write_model(draft, model.state_dict(), description)
        exported = load_exported(draft)  # what is scored and described is what was written
        onnx = _add_onnx(draft, exported) if with_onnx else None
        test = TestScore(None, reason="it was not asked for")
        if with_test:
            test = _score_on_test(exported, _with_data_dir(description, data_dir))
        weights = {
            "n_parameters": sum(parameter.numel() for parameter in exported.network.parameters()),
            "sha256": hashlib.sha256((draft / WEIGHTS_FILE).read_bytes()).hexdigest(),
        }
        card = card_of(exported.description, facts, test, weights=weights, onnx=onnx, torch_version=torch.__version__)
        (draft / CARD_FILE).write_text(json.dumps(card, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        (draft / PAGE_FILE).write_text(page_of(card, exported.description, target.name), encoding="utf-8")
    return Exported(card, test)


@contextmanager
def _draft_of(target: Path) -> Iterator[Path]:
    """Give a folder beside the target, and make it the target at the end; nothing is left of it otherwise."""
    if target.exists() or target.is_symlink():
        raise ExportError(f"{target}: is there already; give another folder, or remove this one first")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.draft-{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        yield draft
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _add_onnx(draft: Path, exported: ExportedModel) -> dict[str, Any]:
    path = draft / ONNX_FILE
    write_onnx(path, exported.network, exported.description)
    difference = check_onnx(path, exported.network, exported.description)
    return {
        "file": ONNX_FILE,
        "tolerance": TOLERANCE,
        "largest_difference": difference,
        "checked_batches": list(CHECKED_BATCHES),
    }


def _score_on_test(exported: ExportedModel, description: ModelDescription) -> TestScore:
    """Score the exported network on the test split of the data that its description names."""
    name = description.data["name"]
    try:
        samples = _test_samples(description)
    except MissingDataError as error:
        return TestScore(None, reason=f"the data ({name}) were not there at the export", detail=str(error))
    except (DataError, OSError) as error:
        return TestScore(None, reason=f"the data ({name}) could not be used at the export", detail=str(error))
    objective = objective_of(description.task)
    try:
        loss, accuracy = evaluate_in_memory(exported.network, samples, objective)
    except TrainingError as error:
        return TestScore(None, reason="memory ran out at the export", detail=str(error))
    score = loss if objective == "regression" else accuracy
    return TestScore(score, len(samples)) if math.isfinite(score) else TestScore(None, reason=f"it is {score}")


def _test_samples(description: ModelDescription) -> Samples:
    if description.networks == "digits":
        return load_digits_split(normalize=False).test
    return test_samples(load_data({**description.data, "download": False}), description)


def _with_data_dir(description: ModelDescription, data_dir: Path | None) -> ModelDescription:
    if data_dir is None:
        return description
    return replace(description, data={**description.data, "data_dir": str(data_dir.resolve())})
