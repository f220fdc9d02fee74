"""Experiments as they lie on the disk: a journal, and trial folders with models."""

from __future__ import annotations

import json

from nni_dream.journal import Journal

NAMES = ("best_model.pt", "best_parameters.json")


def write_journal(folder, trials, *, mode="maximize", seed=1):
    """Journal a search: trials are (number, job, score, parameters), each the repair of the one before."""
    (folder / "log").mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / "log")
    journal.append("start", version="0.1", seed=seed, settings={"optimize_mode": mode})
    candidate = None
    for number, job, score, parameters in trials:
        origin = {"kind": "initial" if candidate is None else "action", "candidate": candidate}
        why = {"condition": None, "action": None} if candidate is None else {"condition": "OA", "action": f"x={number}"}
        journal.append("suggestion", trial=number, parameter_id=number, parameters=parameters, **origin, **why)
        candidate = number
        if score != "running":
            outcome = {"score": score, "condition": "OA-NC-NG-NW", "n_epochs": 3, "status": "succeeded"}
            journal.append("result", trial=number, job=job, parameters=parameters, **outcome)
    return folder


def trial_folder(folder, job):
    return folder / "environments" / "local-env" / "trials" / job


def keep_files(folder, job, description=None):
    """Stand-ins for a kept model, for those who do not read the weights."""
    kept = trial_folder(folder, job)
    kept.mkdir(parents=True, exist_ok=True)
    (kept / NAMES[0]).write_bytes(b"weights")
    (kept / NAMES[1]).write_text(json.dumps(description or {}))
    (kept / "trial.log").write_text("log")
    return kept
