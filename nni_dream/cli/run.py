"""``nni-dream run``: an experiment from its YAML to its summary."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from nni_dream.cli.console import console, errors, fail, interrupted
from nni_dream.cli.options import DataDir, DataOption, Port, WorkingDir, check_data_options
from nni_dream.experiment_paths import journal_path, trials_folder
from nni_dream.feedback import score_text
from nni_dream.report.summary import SearchSummary, TrialRow

if TYPE_CHECKING:
    from nni.experiment import ExperimentConfig

    from nni_dream.experiments import RunningExperiment

__all__ = ["run"]

POLL_SECONDS: Final = 0.5
TUNER_IS_LATE: Final = (
    "the tuner did not connect within the ten seconds that NNI waits: is the machine busy? nni-dream doctor measures it"
)


def run(
    config: Annotated[Path, typer.Argument(help="An experiment's YAML, as for nnictl create.")],
    port: Port = None,
    working_dir: WorkingDir = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the plot; report in the experiment's folder if not given."),
    ] = None,
    data_dir: DataDir = None,
    data_option: DataOption = None,
    weights_dir: Annotated[
        Path | None, typer.Option(help="Folder of pretrained weights; what the trial's command says if not given.")
    ] = None,
    keep_models: Annotated[
        int,
        typer.Option(
            min=1,
            help="How many of the best trials keep their weights (trials of this package; under nnictl all do).",
        ),
    ] = 3,
) -> None:
    """Run an experiment through NNI's manager, show its progress, and sum it up."""
    from nni_dream.experiment_files import ExperimentError, load_config
    from nni_dream.own_commands import OwnTrialError
    from nni_dream.own_trials import restrict_space

    started = time.monotonic()
    check_data_options(data_option or (), lambda own: f"use {own} in the trial's command" if own else "leave it out")
    try:
        loaded = load_config(config, working_dir)
        _set_options(loaded, data_dir, data_option or [], weights_dir)
        with console.status("looking at data and weights"):
            notes = restrict_space(loaded)
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
        if not _is_ours(loaded):
            notes.append("the tuner is not DreamTuner: what its trials do is shown on NNI's web page only")
        for note in notes:
            console.print(f"[yellow]note:[/yellow] {escape(note)}")
        experiment, summary, status = _run_experiment(loaded, port, keep_models)
    except (ExperimentError, OwnTrialError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        interrupted("the experiment is stopped")
    if summary.refusal is not None or status == "ERROR":
        reason = summary.refusal or (TUNER_IS_LATE if experiment.tuner_connected_too_late() else "NNI reports ERROR")
        fail(f"{reason}; see {experiment.folder / 'log'}")
    if summary.best is None and not _is_ours(loaded):
        console.print(f"the experiment has ended; its results are in {escape(str(experiment.folder))}")
    else:
        _sum_up(summary, experiment, output or experiment.folder / "report", time.monotonic() - started)
    raise typer.Exit(1 if status is None else 0)


def _set_options(
    config: ExperimentConfig, data_dir: Path | None, data_options: list[str], weights_dir: Path | None
) -> None:
    """Let the trials use these folders, and read their data in this way."""
    from nni_dream.own_trials import add_data_options, set_data_folder, set_weights_folder

    if data_dir is not None:
        set_data_folder(config, data_dir)
    add_data_options(config, data_options)
    if weights_dir is not None:
        set_weights_folder(config, weights_dir)


def _is_ours(config: ExperimentConfig) -> bool:
    """Whether the tuner is ours: others do not keep the journal that is shown here."""
    from nni_dream.experiment_files import tuner_class
    from nni_dream.registration import TUNER_NAME

    name = tuner_class(config).rpartition(".")[2]
    return name == "DreamTuner" or name.lower() == TUNER_NAME.lower()  # NNI ignores the case of registered names


def _run_experiment(
    config: ExperimentConfig, port: int | None, keep_models: int
) -> tuple[RunningExperiment, SearchSummary, str | None]:
    """Run the experiment to its end, from the beginning again where its tuner came too late for NNI.

    Returns:
        The experiment, stopped; its summary; NNI's last status, ``None`` if its manager went away.
    """
    from nni_dream.experiments import N_STARTS, running_experiment

    for attempt in range(1, N_STARTS + 1):
        with running_experiment(config, port) as experiment:
            console.print(f"experiment {experiment.id}, web page {experiment.address}")
            console.print(experiment.exposure.warning(experiment.port))
            summary, status = _follow(experiment, keep_models)
        if status != "ERROR" or not experiment.tuner_connected_too_late():
            break
        errors.print(f"[yellow]start {attempt} of {N_STARTS} failed:[/yellow] {TUNER_IS_LATE}")
    return experiment, summary, status


def _follow(experiment: RunningExperiment, n_models: int) -> tuple[SearchSummary, str | None]:
    """Show each trial as it ends, until NNI says that the experiment has; let the best keep their models.

    Returns:
        The summary, and NNI's last status; ``None`` if its manager went away, as after ``nnictl stop``.
    """
    from nni_dream.experiment_files import ExperimentError
    from nni_dream.experiments import ENDED_STATUSES
    from nni_dream.own_trials import remove_models

    n_shown = 0
    n_bytes = -1  # of the journal, when it was read: that of a long search takes a good part of a second
    summary = SearchSummary()
    told: set[str] = set()
    was_done = False
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("trials", total=experiment.max_trials, left="")
        console.print(f"{'trial':>5}  {'condition':<12} {'action':<34} {'score':>7}  {'best':>7}  left")
        while True:
            status: str | None = None
            try:
                status = experiment.status()  # asked first: the journal is read after it
            except ExperimentError as error:
                errors.print(f"[yellow]the experiment was ended from outside:[/yellow] {escape(str(error))}")
            has_ended = status is None or status in ENDED_STATUSES
            n_bytes_now = _size(journal_path(experiment.folder))
            if n_bytes_now != n_bytes:
                summary, n_bytes = _read_summary(experiment), n_bytes_now
            if status == "DONE" and not was_done and any(not row.has_ended for row in summary.rows):
                was_done = True  # NNI says so while the last result may still be on its way to the tuner
                time.sleep(POLL_SECONDS)
                continue
            left = _time_left(summary, experiment, time.monotonic() - started)
            for row in summary.ended_rows[n_shown:]:
                console.print(_trial_line(row, left))
            if any(row.status == "failed" for row in summary.ended_rows[n_shown:]):
                _tell_failures(experiment, told)
            if has_ended or len(summary.ended_rows) > n_shown:
                remove_models(experiment, summary, n_models, has_ended=has_ended)
            n_shown = len(summary.ended_rows)
            _show_running(progress, task, summary, left)
            if has_ended or summary.refusal is not None:
                return summary, status
            time.sleep(POLL_SECONDS)


def _tell_failures(experiment: RunningExperiment, told: set[str]) -> None:
    """Say what failed trials said last, each line once."""
    for line in experiment.failure_lines():
        if line not in told:
            console.print(f"       [red]failed:[/red] {escape(line)}")
            told.add(line)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not there yet
        return 0


def _read_summary(experiment: RunningExperiment) -> SearchSummary:
    from nni_dream.journal import read_journal
    from nni_dream.report.summary import summarise

    return summarise(read_journal(journal_path(experiment.folder)))


def _show_running(progress: Progress, task: TaskID, summary: SearchSummary, left: str) -> None:
    running = [f"{row.number}: {row.action or row.kind}" for row in summary.rows if not row.has_ended]
    text = f"running {escape(', '.join(running))}" if running else "waiting for NNI"
    progress.update(task, completed=len(summary.ended_rows), description=text, left=f"{left} left" if left else "")


def _time_left(summary: SearchSummary, experiment: RunningExperiment, elapsed_seconds: float) -> str:
    """How long the trials that are left will take at the pace so far; empty before the first has ended."""
    n_ended = len(summary.ended_rows)
    if not n_ended or experiment.max_trials is None:
        return ""
    n_left = 0 if summary.finish_reason else max(0, experiment.max_trials - n_ended)
    minutes, seconds = divmod(round(elapsed_seconds / n_ended * n_left), 60)
    return f"{minutes}:{seconds:02d}"


def _trial_line(row: TrialRow, left: str) -> str:
    condition = row.condition or "-"
    action = row.action or row.kind
    score, best = score_text(row.score), score_text(row.best_so_far)
    mark = "[green]*[/green]" if row.is_best else " "
    note = f"  [yellow]stopped: {escape(row.stop_text or '')}[/yellow]" if row.status == "stopped" else ""
    note = "  [red]failed[/red]" if row.status == "failed" else note
    return f"{row.number:>5}  {condition:<12} {escape(action):<34} {score:>7}{mark} {best:>7}  {left}{note}"


def _sum_up(summary: SearchSummary, experiment: RunningExperiment, folder: Path, elapsed_seconds: float) -> None:
    from nni_dream.report.plot import plot_search

    best = summary.best
    if best is None:
        fail(f"no trial reported a score; see {experiment.folder}")
    console.print()
    console.rule("summary", align="left")
    if summary.finish_reason:
        console.print(f"ended early: {escape(summary.finish_reason)}")
    console.print(f"{len(summary.ended_rows)} trials in {elapsed_seconds:.0f} s, seed {summary.seed}")
    console.print(f"best: trial {best.number}, validation score {score_text(best.score)}")
    console.print(f"  {escape(json.dumps(best.parameters))}")
    _print_path(summary.path)
    _print_stopped(summary.stopped)
    _print_malformed(summary)
    _print_test_score(experiment, best)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plot_search(summary, folder / "search.png")
        console.print(f"plot: {escape(str(folder / 'search.png'))}")
    except OSError as error:
        errors.print(f"[red]error:[/red] no plot: {escape(str(error))}")
    console.print(f"journal: {escape(str(journal_path(experiment.folder)))}")


def _print_path(path: list[TrialRow]) -> None:
    console.print("repairs that led there:")
    for row in path:
        console.print(f"  trial {row.number:>3}  {score_text(row.score)}  {escape(row.step)}")


def _print_stopped(rows: list[TrialRow]) -> None:
    console.print(f"stopped early: {len(rows)}")
    for row in rows:
        console.print(f"  trial {row.number:>3}  {escape(row.stop_text or '')}")


def _print_malformed(summary: SearchSummary) -> None:
    for kind, n in summary.malformed:
        console.print(f"odd messages: {n} × {escape(kind)} (the first is in the journal)")


def _print_test_score(experiment: RunningExperiment, best: TrialRow) -> None:
    from nni_dream.own_commands import OwnTrialError, own_module
    from nni_dream.own_trials import score_on_test

    if own_module(experiment.trial_command) is None or best.job is None:
        return
    folder = trials_folder(experiment.folder) / best.job
    if not folder.is_dir():
        console.print(f"no test score: the best model is on the machine of trial {best.number}")
        return
    try:
        test = score_on_test(experiment.trial_command, folder)
    except OwnTrialError as error:
        errors.print(f"[red]error:[/red] no test score: {escape(str(error))}")
        return
    if test is not None:
        console.print(
            f"test score of the best model: {score_text(test['test_score'])} ({test['n_test']} samples, used once)"
        )
        console.print(f"to take it away: nni-dream export {escape(shlex.quote(str(experiment.folder)))} -o my_model")
