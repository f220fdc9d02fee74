"""DREAM for NNI: an AutoML search that watches inside training and repairs what it finds.

Importing this package imports nothing else: the dispatcher must start within NNI's ten seconds.  Use
``nni_dream.tuner.DreamTuner``, ``nni_dream.assessor.DreamAssessor`` and ``nni_dream.monitor.FeedbackMonitor``.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
