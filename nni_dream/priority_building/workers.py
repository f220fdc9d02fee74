"""Trainings in warm processes on this machine: a configuration in, the trial's final metric out.

For networks that train in seconds, where starting a process for each training would cost as much as the training.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

__all__ = ["Answer", "Worker", "WorkerError", "train_all"]

WORKER_MODULE: Final = "nni_dream.automl.worker"
LAST_WORDS: Final = 400  # characters of a dead worker's standard error in the message

KeyT = TypeVar("KeyT")


class WorkerError(RuntimeError):
    """A worker cannot start: the options are wrong, or the data are not there."""


@dataclass(frozen=True)
class Answer:
    """What became of one configuration: a metric, or an error."""

    metric: Any = None
    error: str | None = None
    seconds: float | None = None


class Worker:
    """One process that trains; it is started again after one that died, by a full memory for example.

    Args:
        options: Of :mod:`nni_dream.automl.worker`.
        folder: Where relative paths in the options start.
    """

    def __init__(self, options: Sequence[str], folder: Path | None = None) -> None:
        self._command = [sys.executable, "-W", "ignore", "-m", WORKER_MODULE, *options]
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._words = tempfile.TemporaryFile("w+")  # its standard error: a pipe that nobody reads would fill

    def train(self, parameters: dict[str, Any]) -> Answer:
        """Train one configuration and wait for its end; an error is the answer if the process dies of it.

        Raises:
            WorkerError: If the process ends before it has read its data.
        """
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(parameters) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return Answer(**json.loads(line)) if line else Answer(error=self._bury(process))

    def close(self) -> None:
        """End the process; a training in it is lost."""
        if self._process is not None:
            self._process.kill()
            self._bury(self._process)
        self._words.close()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                self._command, stdin=pipe, stdout=pipe, stderr=self._words, text=True, cwd=self._folder
            )
            assert self._process.stdout is not None
            if not self._process.stdout.readline():  # it says when it is ready
                raise WorkerError(self._bury(self._process))
        return self._process

    def _bury(self, process: subprocess.Popen[str]) -> str:
        process.communicate()
        self._process = None
        self._words.seek(0)
        words = self._words.read().strip()
        return f"the worker ended with code {process.returncode}: {words[-LAST_WORDS:]}"


class _Turn(Generic[KeyT]):
    """Hands out the tasks one by one to the threads, each of which has a worker."""

    def __init__(self, tasks: Iterable[tuple[KeyT, dict[str, Any]]]) -> None:
        self._tasks = iter(tasks)
        self._lock = threading.Lock()
        self.is_over = False

    def next(self) -> tuple[KeyT, dict[str, Any]] | None:
        with self._lock:
            return None if self.is_over else next(self._tasks, None)


def train_all(
    tasks: Iterable[tuple[KeyT, dict[str, Any]]],
    options: Sequence[str],
    *,
    n_workers: int,
    folder: Path | None = None,
) -> Iterator[tuple[KeyT, Answer]]:
    """Train every configuration, several at a time; yield each answer as it comes.

    Leaving the loop early ends the workers, and what they were training is lost.

    Args:
        tasks: (key, configuration); taken when a worker is free, so that an iterator may still decide then.

    Raises:
        WorkerError: If the workers cannot start.
    """
    turn = _Turn(tasks)
    answers: queue.Queue[tuple[KeyT, Answer] | Exception | None] = queue.Queue()
    workers = [Worker(options, folder) for _ in range(n_workers)]

    def work(worker: Worker) -> None:
        try:
            while (task := turn.next()) is not None:
                key, parameters = task
                answers.put((key, worker.train(parameters)))
        except Exception as error:  # noqa: BLE001 - of the tasks' iterator or a worker's start; the caller raises it
            answers.put(error)
        finally:
            answers.put(None)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        n_working = n_workers
        while n_working:
            answer = answers.get()
            if answer is None:
                n_working -= 1
            elif isinstance(answer, Exception):
                raise answer
            else:
                yield answer
    finally:
        turn.is_over = True
        for worker in workers:
            worker.close()
        for thread in threads:
            thread.join()
