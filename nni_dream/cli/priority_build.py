"""``nni-dream priority build``: a priority table, measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from nni_dream.cli.console import console, fail, interrupted
from nni_dream.cli.options import DataDir, Force, Port, TableOutput, WorkingDir
from nni_dream.cli.output_files import check_output
from nni_dream.cli.priority import write_table

if TYPE_CHECKING:
    from nni.experiment import ExperimentConfig

    from nni_dream.priority_building.plan import PlannedTraining
    from nni_dream.priority_building.records import BuildSettings
    from nni_dream.priority_building.training_queue import TrainingQueue
    from nni_dream.priority_building.tuner import PriorityTunerSettings

__all__ = ["build"]

POLL_SECONDS: Final = 1.0
PRIORITY_TUNER: Final = "nni_dream.priority_building.tuner.PriorityTuner"

Config = Annotated[Path, typer.Argument(help="An experiment's YAML whose tuner is PriorityTuner.")]
Models = Annotated[int | None, typer.Option(min=1, help="Number of seed models; the paper has 300.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs of each training at most; the paper has 15.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Samples in a training step; the paper has 32.")]
MaxTrainings = Annotated[int | None, typer.Option(min=1, help="Stop when the file holds this many trainings.")]
MaxHours = Annotated[float | None, typer.Option(min=0, help="Start no training after this many hours.")]
Records = Annotated[
    Path | None, typer.Option(help="File of the trainings, continued if it is there; beside the output if not given.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Number of processes that train without NNI: faster for tiny networks.")
]


@dataclass(frozen=True)
class _Measurement:
    """What is trained, and where its results go."""

    experiment: ExperimentConfig
    settings: BuildSettings  # of what is left of the search space
    args: PriorityTunerSettings
    queue: TrainingQueue

    @property
    def records(self) -> Path:
        return Path(self.args.records)


def build(
    config: Config,
    output: TableOutput,
    models: Models = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    max_trainings: MaxTrainings = None,
    max_hours: MaxHours = None,
    records: Records = None,
    workers: Workers = None,
    data_dir: DataDir = None,
    working_dir: WorkingDir = None,
    port: Port = None,
    force: Force = False,
) -> None:
    """Measure priorities: train seed models, then each of them after each action; write the mean gains.

    The same command again goes on where an earlier one was stopped, however it was.
    """
    check_output(output, sources=[config], force=True)  # whether it may be replaced, the trainings say
    options = {"--epochs": epochs, "--batch-size": batch_size}
    given = {"records": records, "n_models": models, "max_trainings": max_trainings, "max_hours": max_hours}
    try:
        experiment = _load_experiment(config, working_dir, data_dir, options)
        args = _tuner_settings(experiment, given, output)
        worker_options = [] if workers is None else _options_of_workers(experiment.trial_command or "")
        measurement = _prepare(experiment, args, output, force=force)
        if workers is not None:
            _train_in_workers(measurement, worker_options, workers)
        else:
            _train_in_nni(measurement, port)
        _write_measured(measurement.records, output)
    except _expected_errors() as error:
        fail(error)
    except KeyboardInterrupt:
        interrupted("the same command goes on from here")


def _expected_errors() -> tuple[type[Exception], ...]:
    """The errors that say by themselves what to do."""
    from nni_dream.config import SettingsError
    from nni_dream.experiment_files import ExperimentError
    from nni_dream.own_commands import OwnTrialError
    from nni_dream.priority_building.records import RecordsError
    from nni_dream.priority_building.workers import WorkerError
    from nni_dream.search.space import SearchSpaceError

    return ExperimentError, OwnTrialError, RecordsError, SearchSpaceError, SettingsError, WorkerError, OSError


def _load_experiment(
    config: Path, working_dir: Path | None, data_dir: Path | None, options: dict[str, int | None]
) -> ExperimentConfig:
    """Return the experiment, with these options in its trials' command; ``None`` leaves what is there."""
    from nni_dream.experiment_files import load_config
    from nni_dream.own_commands import with_options
    from nni_dream.own_trials import set_data_folder

    experiment = load_config(config, working_dir)
    experiment.trial_command = with_options(experiment.trial_command or "", options)
    if data_dir is not None:
        set_data_folder(experiment, data_dir)
    return experiment


def _tuner_settings(loaded: ExperimentConfig, given: dict[str, Any], output: Path) -> PriorityTunerSettings:
    """Return the tuner's arguments: those of the command, else those of the YAML.

    Raises:
        ExperimentError: If the YAML has another tuner.
        SettingsError: If an argument is unknown or breaks its rule.
    """
    from nni_dream.config import parse_settings
    from nni_dream.experiment_files import ExperimentError, tuner_class
    from nni_dream.priority_building.experiment import class_args_of
    from nni_dream.priority_building.tuner import PriorityTunerSettings

    name = tuner_class(loaded)
    if not name.endswith("PriorityTuner"):
        raise ExperimentError(
            f"the tuner is {name}, expected className: {PRIORITY_TUNER}, and codeDirectory: . beside it"
        )
    args = class_args_of(loaded) | {name: value for name, value in given.items() if value is not None}
    args["records"] = str(Path(args.get("records") or output.with_suffix(".trainings.jsonl")).resolve())
    return parse_settings(PriorityTunerSettings, args, "PriorityTuner")


def _prepare(experiment: ExperimentConfig, args: PriorityTunerSettings, output: Path, *, force: bool) -> _Measurement:
    """Check the output, take out of the search space what cannot be had, and plan the trainings."""
    from nni_dream.own_trials import restrict_space
    from nni_dream.priority_building.records import RecordFile
    from nni_dream.priority_building.training_queue import TrainingQueue

    records = Path(args.records)
    is_own = _goes_on(output, records, _build_settings(experiment, args))
    check_output(output, sources=[records], force=force or is_own)
    for note in restrict_space(experiment):
        console.print(f"[yellow]note:[/yellow] {escape(note)}")
    settings = _build_settings(experiment, args)  # of what is left of the space
    queue = TrainingQueue(
        RecordFile(records, settings),
        max_trainings=args.max_trainings,
        max_seconds=None if args.max_hours is None else args.max_hours * 3600,
    )
    if args.max_trainings is not None and queue.n_seed_models == queue.n_planned:
        fail(
            f"--max-trainings is {args.max_trainings}, expected more than the {settings.n_models} seed models: after "
            "these the actions are trained, whose gains are measured; allow more trainings, or give fewer --models"
        )
    console.print(f"{queue.n_planned} trainings planned, {queue.n_done} of them done, in {escape(str(records))}")
    return _Measurement(experiment, settings, args, queue)


def _build_settings(loaded: ExperimentConfig, args: PriorityTunerSettings) -> BuildSettings:
    from nni_dream.priority_building.experiment import option_value, shared_command
    from nni_dream.priority_building.records import BuildSettings

    command = loaded.trial_command or ""
    return BuildSettings(
        data=option_value(command, "--data") or loaded.experiment_name or "not stated",
        trial_command=shared_command(command),
        search_space=loaded.canonical_copy().search_space,
        optimize_mode=args.optimize_mode,
        seed=args.seed,
        n_models=args.n_models,
        roles=args.roles,
    )


def _goes_on(output: Path, records: Path, settings: BuildSettings) -> bool:
    """Whether the output is a table of the measurement that goes on.

    A table does not say of which space it is; the file of trainings does, and one with other settings is refused.
    """
    from nni_dream.search.priorities import PriorityTableError, load_priority_table

    if not records.exists() or records.stat().st_size == 0:
        return False
    try:
        made = load_priority_table(str(output)).provenance
    except PriorityTableError:
        return False
    return made is not None and (made.data, made.trial_commands, made.seeds) == (
        (settings.data,),
        (settings.trial_command,),
        (settings.seed,),
    )


def _options_of_workers(command: str) -> list[str]:
    """Return what the trials are called with.

    Raises:
        WorkerError: If they are no trials that workers can train, or only the shell knows.
    """
    from nni_dream.own_commands import TASK_TRIAL, own_module, words_of_trial
    from nni_dream.priority_building.workers import WorkerError

    if own_module(command) != TASK_TRIAL:
        raise WorkerError(f"--workers is for trials of {TASK_TRIAL}; the command is {command!r}")
    options = words_of_trial(command)
    if options is None:
        raise WorkerError(
            f"only the shell can read the trials' command {command!r}: write its words plainly, or leave out --workers"
        )
    return options


def _train_in_workers(measurement: _Measurement, options: list[str], n_workers: int) -> None:
    from nni_dream.priority_building.workers import train_all

    queue = measurement.queue
    folder = Path(measurement.experiment.canonical_copy().trial_code_directory)
    started, n_before = time.monotonic(), queue.n_done
    for planned, answer in train_all(_tasks(queue), options, n_workers=n_workers, folder=folder):
        if answer.error is None:
            queue.finish(planned.configuration, answer.metric, answer.seconds)
        else:
            queue.fail(planned.configuration, answer.error, answer.seconds)
        _show_progress(queue.n_done, queue.n_planned, n_before, started, queue.n_failed().total())
    console.print("")


def _tasks(queue: TrainingQueue) -> Iterator[tuple[PlannedTraining, dict[str, Any]]]:
    while (planned := queue.next()) is not None:
        yield planned, planned.configuration


def _train_in_nni(measurement: _Measurement, port: int | None) -> None:
    from nni_dream.experiments import running_experiment
    from nni_dream.priority_building.records import read_records

    if measurement.queue.next() is None:  # what was changed on a failed seed model is planned and never trained
        return
    records, n_planned = measurement.records, measurement.queue.n_planned
    measurement.experiment.tuner.class_args = _class_args(measurement)
    started, n_before = time.monotonic(), len(read_records(records)[1])
    with running_experiment(measurement.experiment, port) as experiment:
        console.print(f"experiment {experiment.id}, web page {experiment.address}")
        console.print(experiment.exposure.warning(experiment.port))
        while True:
            has_ended = experiment.has_ended()  # asked first: the file read after it is complete
            done = read_records(records)[1]
            n_failed = sum(record.status == "failed" for record in done)
            _show_progress(len(done), n_planned, n_before, started, n_failed)
            if has_ended:
                break
            time.sleep(POLL_SECONDS)
    console.print("")


def _class_args(measurement: _Measurement) -> dict[str, Any]:
    """Return what the tuner is told: what it trains, and where it stops."""
    shared = {"data", "trial_command", "optimize_mode", "seed", "n_models", "roles"}
    told = measurement.settings.model_dump(mode="json", include=shared)
    limits = measurement.args.model_dump(include={"max_trainings", "max_hours"}, exclude_none=True)
    return {**told, **limits, "records": measurement.args.records}


def _show_progress(n_done: int, n_planned: int, n_before: int, started: float, n_failed: int) -> None:
    if not console.is_terminal:
        return
    n_new = n_done - n_before
    left = (time.monotonic() - started) / n_new * (n_planned - n_done) if n_new else None
    text = "" if left is None else f", {left // 3600:.0f}:{left % 3600 // 60:02.0f} h left"
    console.print(f"\r{n_done} of {n_planned} trainings, {n_failed} failed{text}   ", end="")


def _write_measured(records: Path, output: Path) -> None:
    from nni_dream.priority_building.experiment import option_value
    from nni_dream.priority_building.measured_table import measure_table
    from nni_dream.priority_building.records import read_records

    settings, trainings = read_records(records)
    task = option_value(settings.trial_command, "--task") or settings.data
    write_table(measure_table(settings, trainings, task=task), output)
