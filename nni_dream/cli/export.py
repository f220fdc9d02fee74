"""``nni-dream export``: the best model of an experiment, to take away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from nni_dream.cli.console import console, fail, interrupted
from nni_dream.experiment_paths import DEFAULT_WORKING_DIRECTORY
from nni_dream.feedback import score_text

if TYPE_CHECKING:
    from nni_dream.automl.exported_card import SearchFacts
    from nni_dream.automl.exporting import Exported
    from nni_dream.experiment_folders import ExperimentFolder
    from nni_dream.report.summary import TrialRow

__all__ = ["export"]


def export(
    experiment: Annotated[str, typer.Argument(help="Folder of the experiment, or its id in --working-dir.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model; one that is there is refused.")],
    trial: Annotated[int | None, typer.Option(help="Number of the trial; the best if not given.")] = None,
    working_dir: Annotated[
        Path, typer.Option(help="Folder where NNI keeps the experiments.")
    ] = DEFAULT_WORKING_DIRECTORY,
    trial_folder: Annotated[
        Path | None, typer.Option(help="Folder of the trial, if it was copied from another machine.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the data are; where the trial found them if not given.")
    ] = None,
    test: Annotated[bool, typer.Option(help="Score the model on the test samples, if the data are there.")] = True,
    onnx: Annotated[bool, typer.Option("--onnx", help="Add model.onnx, and check it against PyTorch.")] = False,
) -> None:
    """Write the best model of an experiment: weights, configuration, and a card with its scores and its origin."""
    from nni_dream.experiment_folders import ExperimentFolderError, check_kept_model, find_experiment

    try:
        found = find_experiment(experiment, working_dir)
        row = found.row(trial)
        if trial_folder is not None:
            check_kept_model(trial_folder, row)
        kept = trial_folder or found.kept_model(row)
        console.print(f"experiment {escape(found.id)}: trial {row.number}, validation score {score_text(row.score)}")
        _export(kept, output, found, row, data_dir=data_dir, with_test=test, with_onnx=onnx)
    except ExperimentFolderError as error:
        fail(error)
    except KeyboardInterrupt:
        interrupted("nothing was written")


def _export(
    kept: Path,
    output: Path,
    experiment: ExperimentFolder,
    row: TrialRow,
    *,
    data_dir: Path | None,
    with_test: bool,
    with_onnx: bool,
) -> None:
    from nni_dream.automl.exported_onnx import OnnxError
    from nni_dream.automl.exporting import ExportError, export_model
    from nni_dream.automl.kept_model import KeptModelError

    facts = _facts(experiment, row)
    try:
        exported = export_model(kept, output, facts, data_dir=data_dir, with_test=with_test, with_onnx=with_onnx)
    except (ExportError, KeptModelError, OnnxError, OSError) as error:
        fail(error)
    _tell(exported, output)


def _facts(experiment: ExperimentFolder, row: TrialRow) -> SearchFacts:
    from nni_dream import __version__
    from nni_dream.automl.exported_card import Repair, SearchFacts

    summary = experiment.summary
    repairs = [Repair(step.number, step.score, step.step) for step in summary.path_to(row)]
    ranks = {ranked.number: rank for rank, ranked in enumerate(summary.ranked, start=1)}
    assert row.score is not None  # only such are taken
    return SearchFacts(
        experiment=experiment.id,
        trial=row.number,
        rank=ranks[row.number],
        n_trials=len(summary.ended_rows),
        n_epochs=row.n_epochs,
        score=row.score,
        seed=summary.seed,
        repairs=tuple(repairs),
        version=__version__,
    )


def _tell(exported: Exported, output: Path) -> None:
    card, test = exported
    if test.score is not None:
        console.print(
            f"test: {card['metric']} {score_text(test.score)} ({test.n_samples} samples, which the search has not seen)"
        )
    else:
        console.print(f"[yellow]note:[/yellow] no test score: {escape(test.detail or test.reason or '')}")
    onnx = card["onnx"]
    if onnx is not None:
        difference, tolerance = onnx["largest_difference"], onnx["tolerance"]
        console.print(f"ONNX: differs from PyTorch by {difference:.1e} at most, {tolerance:.0e} is allowed")
    console.print(f"wrote {escape(str(output))}: {', '.join(sorted(path.name for path in output.iterdir()))}")
