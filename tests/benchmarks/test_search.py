"""The live comparison, its trainings replaced by a function of the configuration."""

import gzip
import math
import time

import pytest
import search
from priority_building.example import metric_of, settings
from recorded_trials import SharedDataError, write_table
from search import Arena, Run, contestants, drawing, schedule, train_and_advance
from search_trainings import DATA, TrainingCache, draw_starts, worse_half
from toy_data import TOY, ToyTrainers, score_of
from tuners import Trial

from nni_dream.priority_building.records import RecordFile, RecordsError
from nni_dream.priority_building.training_queue import TrainingQueue
from nni_dream.priority_building.workers import Answer
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import SearchSpace

N_TRIALS = 8
N_SEEDS = 2
ALWAYS_HERE = (
    "Dream learning",
    "Dream learning, base space",
    "NNI TPE",
    "NNI TPE, 5 at random",
    "NNI Random",
    "NNI Evolution",
    "NNI GridSearch",
)


def search_all(folder, trainers, *, names=ALWAYS_HERE, deadline=math.inf):
    """Run the searches of the named tuners from what the folder has; return them."""
    cache = TrainingCache(folder, TOY)
    entered = {name: contestants()[name] for name in names}
    train_and_advance(iter(drawing(cache)), trainers, deadline)
    runs = list(schedule([Arena(cache, "other", "paper_table2", N_SEEDS, N_TRIALS)], entered))
    train_and_advance(iter(runs), trainers, deadline)
    return runs


def add_one(folder, dropout):
    """Add a training that no search asks for; return the cache that did it."""
    cache = TrainingCache(folder, TOY)
    cache.add({**draw_starts(TOY)[0], "dropout": dropout}, Answer(error="it is too large", seconds=1.0))
    return cache


def results(runs):
    return {(run.tuner, run.seed): run.steps for run in runs}


def test_nothing_is_trained_twice_not_even_by_the_next_command(tmp_path):
    first, second = ToyTrainers(), ToyTrainers()
    runs = search_all(tmp_path, first)
    assert len(first.trained) == len(set(first.trained))
    assert all(run.has_ended and len(run.steps) == N_TRIALS for run in runs)

    again = search_all(tmp_path, second)
    assert second.trained == []
    assert results(again) == results(runs)


@pytest.mark.parametrize("limit", [5, 20, 40])
def test_a_stopped_command_goes_on_and_comes_to_the_same_end(tmp_path, limit):
    whole = search_all(tmp_path / "whole", ToyTrainers())
    stopped = ToyTrainers(limit=limit)
    with pytest.raises(KeyboardInterrupt):
        search_all(tmp_path / "stopped", stopped)
    rest = ToyTrainers()
    assert results(search_all(tmp_path / "stopped", rest)) == results(whole)
    lost = set(stopped.trained) & set(rest.trained)
    assert len(lost) < ToyTrainers.n_workers + 1, "only what was under way is trained again"


def test_after_the_deadline_what_is_known_is_still_searched(tmp_path):
    trainers = ToyTrainers()
    search_all(tmp_path, trainers, names=["NNI TPE"])
    n_trained = len(trainers.trained)
    late = search_all(tmp_path, trainers, names=["NNI TPE", "NNI GridSearch"], deadline=time.monotonic())
    assert {run.tuner: run.has_ended for run in late} == {"NNI TPE": True, "NNI GridSearch": False}
    assert len(trainers.trained) == n_trained


def test_a_packed_cache_is_continued(tmp_path):
    trainers = ToyTrainers()
    search_all(tmp_path, trainers)
    add_one(tmp_path, dropout=0.7).pack()
    assert [path.name for path in tmp_path.glob("toy.*")] == ["toy.jsonl.gz"]
    n_trained = len(trainers.trained)
    search_all(tmp_path, trainers)
    assert len(trainers.trained) == n_trained
    cache = add_one(tmp_path, dropout=0.8)
    assert len(cache.records) == len(TrainingCache(tmp_path, TOY).records) == n_trained + 2


def test_a_report_leaves_the_files_of_a_command_that_trains_alone(tmp_path):
    training = add_one(tmp_path, dropout=0.7)
    reading = TrainingCache(tmp_path, TOY)
    reading.pack()
    assert [path.name for path in tmp_path.glob("toy.*")] == ["toy.jsonl"]
    with pytest.raises(RecordsError, match="another command is adding"):
        reading.add(draw_starts(TOY)[0], Answer(error="no", seconds=1.0))
    training.pack()


def test_what_another_command_has_added_meanwhile_is_kept(tmp_path):
    one, other = TrainingCache(tmp_path, TOY), TrainingCache(tmp_path, TOY)
    start = draw_starts(TOY)[0]
    one.add({**start, "dropout": 0.7}, Answer(error="it is too large", seconds=1.0))
    one.add({**start, "dropout": 0.8}, Answer(error="it is too large", seconds=1.0))
    one.pack()
    other.add({**start, "dropout": 0.8}, Answer(error="another", seconds=9.0))  # trained twice, kept once
    other.add({**start, "dropout": 0.9}, Answer(error="it is too large", seconds=1.0))
    other.pack()
    kept = TrainingCache(tmp_path, TOY)
    assert [record.error for record in kept.records] == ["it is too large"] * 3
    assert [record.model for record in kept.records] == [0, 1, 2]


def test_a_file_that_was_unpacked_by_half_is_none(tmp_path):
    add_one(tmp_path, dropout=0.7).pack()
    (tmp_path / "toy.draft").write_text("")  # of a command that was killed while it unpacked
    assert len(add_one(tmp_path, dropout=0.8).records) == 2


def test_a_cache_of_other_settings_is_refused(tmp_path):
    RecordFile(tmp_path / "toy.jsonl", settings(trial_command="python3 other.py"))
    with pytest.raises(RecordsError, match="trainings with"):
        TrainingCache(tmp_path, TOY)


def test_all_tuners_of_a_seed_begin_with_its_start(tmp_path):
    runs = search_all(tmp_path, ToyTrainers(), names=contestants())
    median = sorted(score_of(TOY.complete(start)) for start in draw_starts(TOY))[len(draw_starts(TOY)) // 2]
    for seed in range(N_SEEDS):
        firsts = {run.steps[0].score for run in runs if run.seed == seed}
        assert len(firsts) == 1
        assert firsts.pop() <= median


def test_a_tuner_searches_its_space(tmp_path):
    cache = TrainingCache(tmp_path, TOY)
    train_and_advance(iter(drawing(cache)), ToyTrainers(), math.inf)
    arena = Arena(cache, "other", "paper_table2", 1, N_TRIALS)
    for name, contestant in contestants().items():
        conversation = arena.run(name, contestant, seed=0).conversation
        space = SearchSpace(TOY.base_space() if contestant.has_base_space else TOY.expanded_space())
        space.check(next(conversation).configuration)


def test_searches_that_run_together_are_those_that_run_alone(tmp_path):
    together = results(search_all(tmp_path / "together", ToyTrainers(), names=contestants()))
    alone = {}
    for name in contestants():
        alone |= results(search_all(tmp_path / "alone", ToyTrainers(), names=[name]))
    assert together == alone


def test_failed_trainings_are_kept_and_change_no_best_score(tmp_path):
    def is_large(configuration):
        return configuration["block_type"].get("kernel_size") == 7

    trainers = ToyTrainers(fails=is_large)
    runs = search_all(tmp_path, trainers, names=contestants())
    assert all(run.has_ended and run.error is None for run in runs)
    assert any(step.score is None for run in runs for step in run.steps)
    n_trained = len(trainers.trained)
    search_all(tmp_path, trainers, names=contestants())
    assert len(trainers.trained) == n_trained


def test_a_tuner_that_trips_is_given_up_alone(tmp_path):
    def tripping():
        yield Trial(draw_starts(TOY)[0])
        raise KeyError("filters")

    cache = TrainingCache(tmp_path, TOY)
    run = Run("tripping", 0, cache, tripping())
    train_and_advance(iter([run, *drawing(cache)]), ToyTrainers(), math.inf)
    assert run.error == "KeyError: 'filters'"
    assert not run.has_ended
    assert len(cache.records) == len({canonical_json(start) for start in draw_starts(TOY)})


def test_a_trial_that_is_cut_short_has_the_first_epochs_and_their_cost(tmp_path):
    def short():
        outcome = yield Trial(draw_starts(TOY)[0], n_epochs=1)
        assert len(outcome.feedback.epochs) == 1

    run = Run("short", 0, TrainingCache(tmp_path, TOY), short())
    train_and_advance(iter([run]), ToyTrainers(), math.inf)
    full = score_of(TOY.complete(draw_starts(TOY)[0]))
    assert run.has_ended
    assert run.steps == [(pytest.approx(full / 4), 0.5, 0.25)]


@pytest.fixture
def records(tmp_path):
    """A folder with trainings on data that tables can be made of."""
    folder = tmp_path / "records"
    for data in ("toy", "other"):
        file = RecordFile(folder / f"{data}.jsonl", settings(data=data))
        queue = TrainingQueue(file, max_trainings=24)
        while (planned := queue.next()) is not None:
            queue.finish(planned.configuration, metric_of(planned.configuration))
        (folder / f"{data}.jsonl.gz").write_bytes(gzip.compress(file.path.read_bytes()))
    return folder


def test_a_table_of_the_same_data_is_refused(tmp_path, records):
    cache = TrainingCache(tmp_path / "cache", TOY)
    with pytest.raises(SharedDataError, match="measured on toy, and the searches are judged on toy"):
        write_table(records / "toy.jsonl.gz", tmp_path, judged_on=cache)
    assert write_table(records / "other.jsonl.gz", tmp_path, judged_on=cache).endswith("other.json")


def test_the_start_is_the_same_training_in_both_spaces():
    for data in DATA.values():
        for start in draw_starts(data):
            SearchSpace(data.base_space()).check(start)
            SearchSpace(data.expanded_space()).check(data.complete(start))


def test_the_worse_half_keeps_the_order_and_leaves_out_what_failed():
    drawn = [{"x": i} for i in range(6)]
    assert worse_half(drawn, [0.5, None, 0.1, 0.9, 0.2, 0.7]) == [{"x": 0}, {"x": 2}, {"x": 4}]


def test_a_training_that_reports_no_number_has_failed(tmp_path):
    cache = TrainingCache(tmp_path, TOY)
    start = draw_starts(TOY)[0]
    cache.add(start, Answer(metric={"default": "nan"}, seconds=1.0))
    record = cache.find(start)
    assert (record.status, record.error) == ("failed", "it reported no finite score")


def test_the_report_is_written_of_what_has_ended(tmp_path, records, monkeypatch):
    monkeypatch.setitem(DATA, "toy", TOY)
    monkeypatch.setattr("logging.disable", lambda _: None)  # it would outlive this test
    command = [
        "search.py",
        "--on",
        "toy=other",
        "--trials",
        str(N_TRIALS),
        "--seeds",
        str(N_SEEDS),
        "--records",
        str(records),
    ]
    command += ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "report.md"), "--tuners", *ALWAYS_HERE]
    monkeypatch.setattr("sys.argv", command)
    trainers = ToyTrainers()
    trainers.close = lambda: None
    monkeypatch.setattr(search, "WarmTrainers", lambda *_: trainers)
    search.main()
    first = (tmp_path / "report.md").read_text()
    assert "## toy, priorities from other" in first
    assert "| NNI TPE | 2 |" in first
    monkeypatch.setattr("sys.argv", [*command, "--report-only"])
    n_trained = len(trainers.trained)
    search.main()
    assert (tmp_path / "report.md").read_text() == first
    assert len(trainers.trained) == n_trained
    assert (tmp_path / "report.png").exists()
