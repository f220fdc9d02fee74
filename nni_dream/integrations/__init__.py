"""Hooks that put a :class:`nni_dream.monitor.FeedbackMonitor` into a trial's own training.

One module for each: ``lightning``, ``transformers``, ``keras``, and ``loop`` for a loop written by hand.  Each needs
its library, which the extra of the same name installs; importing this package imports none.
"""
