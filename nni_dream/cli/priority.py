"""``nni-dream priority build | show | compare | merge | import``: priority tables, measured and looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from nni_dream.cli.console import console, fail, interrupted
from nni_dream.cli.output_files import check_output, write_output

if TYPE_CHECKING:
    from nni.experiment import ExperimentConfig

    from nni_dream.priority_building.plan import PlannedTraining
    from nni_dream.priority_building.records import BuildSettings
    from nni_dream.priority_building.training_queue import TrainingQueue
    from nni_dream.priority_building.tuner import PriorityTunerSettings
    from nni_dream.search.priorities import PriorityTable

__all__ = ["priority"]

POLL_SECONDS: Final = 1.0
PRIORITY_TUNER: Final = "nni_dream.priority_building.tuner.PriorityTuner"

priority = typer.Typer(no_args_is_help=True, help="Priority tables: measure, show, compare, merge, import.")

Table = Annotated[str, typer.Argument(help="A table's file, or the name of one that ships.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where the table goes.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an output that is there.")]


@priority.command()
def build(
    config: Annotated[Path, typer.Argument(help="An experiment's YAML whose tuner is PriorityTuner.")],
    output: Output,
    models: Annotated[int | None, typer.Option(min=1, help="Seed models; the paper has 300.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each training at most; the paper has 15.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="The paper has 32.")] = None,
    max_trainings: Annotated[int | None, typer.Option(min=1, help="Stop with so many in the file.")] = None,
    max_hours: Annotated[float | None, typer.Option(min=0, help="Start no training after so many hours.")] = None,
    records: Annotated[
        Path | None,
        typer.Option(help="The file of trainings, continued if it is there; beside the output if not given."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Train in so many processes without NNI: faster for tiny networks.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the data are, if not where the YAML says.")] = None,
    working_dir: Annotated[Path | None, typer.Option(help="Where NNI keeps the experiment.")] = None,
    port: Annotated[int | None, typer.Option(help="Of NNI's web page; a free one if not given.")] = None,
    force: Force = False,
) -> None:
    """Measure priorities: train seed models, then each of them after each action; write the mean gains.

    The same command again goes on where an earlier one was stopped, however it was.
    """
    from nni_dream.config import SettingsError
    from nni_dream.experiment_files import ExperimentError, load_config
    from nni_dream.own_commands import OwnTrialError, with_options
    from nni_dream.own_trials import restrict_space, set_data_folder
    from nni_dream.priority_building.records import RecordFile, RecordsError
    from nni_dream.priority_building.training_queue import TrainingQueue
    from nni_dream.priority_building.workers import WorkerError
    from nni_dream.search.space import SearchSpaceError

    check_output(output, sources=[config], force=True)  # whether it may be replaced, the trainings say
    given = {"records": records, "n_models": models, "max_trainings": max_trainings, "max_hours": max_hours}
    try:
        loaded = load_config(config, working_dir)
        loaded.trial_command = with_options(
            loaded.trial_command or "", {"--epochs": epochs, "--batch-size": batch_size}
        )
        if data_dir is not None:
            set_data_folder(loaded, data_dir)
        args = _tuner_settings(loaded, given, output)
        is_own = _goes_on(output, Path(args.records), _build_settings(loaded, args))
        check_output(output, sources=[Path(args.records)], force=force or is_own)
        for note in restrict_space(loaded):
            console.print(f"[yellow]note:[/yellow] {escape(note)}")
        options = [] if workers is None else _options_of_workers(loaded.trial_command or "")
        settings = _build_settings(loaded, args)  # of what is left of the space
        records, limit = Path(args.records), args.max_trainings
        queue = TrainingQueue(
            RecordFile(records, settings),
            max_trainings=limit,
            max_seconds=None if args.max_hours is None else args.max_hours * 3600,
        )
        if limit is not None and queue.n_seed_models == queue.n_planned:
            fail(
                f"max-trainings is {limit}, expected more than the {settings.n_models} seed models: after these the "
                "actions are trained, whose gains are measured; allow more trainings, or give fewer --models"
            )
        console.print(f"{queue.n_planned} trainings planned, {queue.n_done} of them done, in {escape(str(records))}")
        if workers is not None:
            _train_in_workers(loaded, options, queue, workers)
        elif queue.next() is not None:  # what was changed on a failed seed model is planned and never trained
            limits = {"max_trainings": limit, "max_hours": args.max_hours}
            _train_in_nni(loaded, settings, records, queue.n_planned, limits, port)
        _write_measured(records, output)
    except (
        ExperimentError,
        OwnTrialError,
        RecordsError,
        SearchSpaceError,
        SettingsError,
        WorkerError,
        OSError,
    ) as error:
        fail(error)
    except KeyboardInterrupt:
        interrupted("the same command goes on from here")


@priority.command()
def show(
    table: Table,
    top: Annotated[int, typer.Option(min=1, help="Actions of each condition.")] = 10,
    condition: Annotated[str, typer.Option(help="Such as OA-NC-NG-NW; * for any part.")] = "*-*-*-*",
    plot: Annotated[Path | None, typer.Option(help="Write a heat map here, as PNG.")] = None,
) -> None:
    """Show a table: the best actions of each condition, and a heat map."""
    from nni_dream.report.priority_table import plot_table, table_lines

    if plot is not None and (plot.suffix.lower() != ".png" or plot.is_dir()):
        fail(f"{plot} is no PNG file: expected a path that ends in .png")
    loaded = _load(table)
    try:
        for line in table_lines(loaded, condition=condition, top=top):
            console.print(escape(line))
    except ValueError as error:
        fail(error)
    if plot is None:
        return
    try:
        plot_table(loaded, plot)
    except OSError as error:
        fail(error)
    console.print(f"plot: {escape(str(plot))}")


@priority.command()
def compare(one: Table, other: Table) -> None:
    """Compare how two tables rank the actions of each condition that both have."""
    from nni_dream.priority_building.tables import N_BEST, compare_tables

    first, second = _load(one), _load(other)
    agreements = compare_tables(first, second)
    if not agreements:
        fail("the tables have no condition in common")
    console.print(f"{'condition':<14} {'actions':>7}  {'rank correlation':>16}  of the best {N_BEST} in both")
    for each in agreements:
        correlation = "-" if each.rank_correlation is None else f"{each.rank_correlation:+.2f}"
        console.print(f"{each.condition:<14} {each.n_shared:>7}  {correlation:>16}  {each.n_best_shared}")
    known = [each.rank_correlation for each in agreements if each.rank_correlation is not None]
    if known:
        console.print(f"mean rank correlation of {len(known)} conditions: {mean(known):+.2f}")
    for name, own, others in ((one, first, second), (other, second, first)):
        alone = sorted({row.condition for row in own.rows} - {row.condition for row in others.rows})
        if alone:
            console.print(f"only in {escape(name)}: {', '.join(alone)}")


@priority.command()
def merge(
    tables: Annotated[list[str], typer.Argument(help="Two measured tables or more.")],
    output: Output,
    force: Force = False,
) -> None:
    """Merge measured tables into one, as if all of it had been measured together."""
    from nni_dream.priority_building.tables import merge_tables
    from nni_dream.search.priorities import PriorityTableError, shipped_tables

    files = [Path(table) for table in tables if table not in shipped_tables()]
    check_output(output, sources=files, force=force)
    try:
        merged = merge_tables([_load(table) for table in tables])
    except PriorityTableError as error:
        fail(error)
    _write(merged, output)


@priority.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: a column a condition, a row a rank, cells 'learning rate=0.01'.")],
    output: Output,
    task: Annotated[str, typer.Option(help="Task that the table is for.")] = "image_classification",
    force: Force = False,
) -> None:
    """Import a table in the layout of the paper's repository."""
    from nni_dream.priority_building.tables import import_ranks
    from nni_dream.search.priorities import PriorityTableError

    check_output(output, sources=[file], force=force)
    try:
        imported = import_ranks(file, task=task)
    except PriorityTableError as error:
        fail(error)
    _write(imported, output)


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


def _train_in_workers(loaded: ExperimentConfig, options: list[str], queue: TrainingQueue, n_workers: int) -> None:
    from nni_dream.priority_building.workers import train_all

    folder = Path(loaded.canonical_copy().trial_code_directory)
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


def _train_in_nni(
    loaded: ExperimentConfig,
    settings: BuildSettings,
    records: Path,
    n_planned: int,
    limits: dict[str, float | None],
    port: int | None,
) -> None:
    from nni_dream.experiments import running_experiment
    from nni_dream.priority_building.records import read_records

    told = settings.model_dump(
        mode="json", include={"data", "trial_command", "optimize_mode", "seed", "n_models", "roles"}
    )
    limits_set = {name: value for name, value in limits.items() if value is not None}
    loaded.tuner.class_args = {**told, **limits_set, "records": str(records)}
    started, n_before = time.monotonic(), len(read_records(records)[1])
    with running_experiment(loaded, port) as experiment:
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
    _write(measure_table(settings, trainings, task=task), output)


def _load(table: str) -> PriorityTable:
    from nni_dream.search.priorities import PriorityTableError, load_priority_table

    try:
        return load_priority_table(table)
    except PriorityTableError as error:
        fail(error)


def _write(table: PriorityTable, output: Path) -> None:
    write_output(output, table.model_dump_json(indent=1, exclude_none=True) + "\n")
    n_actions = sum(len(row.actions) for row in table.rows)
    console.print(f"{escape(str(output))}: {len(table.rows)} conditions, {n_actions} actions in them")
