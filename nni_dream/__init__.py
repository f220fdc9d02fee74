"""DREAM for NNI: an AutoML search that watches inside training and repairs what it finds.

Importing this package imports nothing else: the dispatcher must start within NNI's ten seconds.  Use
``nni_dream.tuner.DreamTuner``, ``nni_dream.assessor.DreamAssessor`` and ``nni_dream.monitor.FeedbackMonitor``.

Three kinds of processes run it, and what one of them tells another is in :mod:`nni_dream.feedback`:

- NNI's dispatcher, without torch: ``tuner`` and ``assessor`` with their arguments in ``config``; ``suggester`` and
  ``search``, the method itself; ``trials``, ``records``, ``outcomes``, ``journal``, ``json_lines``, ``malformed`` and
  ``resume``, what is known of trials; ``callbacks``, ``plain_messages``, ``hidden_messages`` and ``manager``, what NNI
  lacks; ``job_statuses``, its words; ``own_commands``, what the command line of this package's own trials says.
- A trial: ``monitor`` with ``measured_weights``, ``gradient_sampling``, ``weight_updates``, ``tensor_statistics`` and
  ``layer_numbers``; ``reporting``, and ``integrations`` for other libraries; ``automl``, this package's own trials;
  ``torchvision_compatibility``, for a torchvision that was built for another torch.
- The command ``nni-dream``: ``cli`` and ``report``; ``experiments``, ``experiment_files``, ``experiment_paths``,
  ``experiment_folders`` and ``own_trials``; ``space_files``; ``registration``, ``doctor``, ``exposure`` and
  ``proxies``; ``priority_building``, whose experiment has a tuner of its own.

``tests/test_imports.py`` says which may import which.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
