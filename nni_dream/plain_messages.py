"""Let NNI's dispatcher read JSON and nothing else.

NNI reads every message with a decoder that unpickles and calls what the text names: the metric
``{"__symbol__": "path:os.system", "__args__": ["..."]}`` runs a command in the dispatcher.  A metric is a number or a
dict of numbers and text; whoever can send one needs no more.
"""

from __future__ import annotations

import json

from nni.runtime import msg_dispatcher, msg_dispatcher_base

__all__ = ["read_plain_json"]


def read_plain_json() -> None:
    """Give NNI's dispatcher of this process a plain JSON reader; again is no change.

    Objects that NNI wrote with its own encoder (a tensor as a metric) stay the dicts that they travel as.
    """
    msg_dispatcher.load = json.loads  # the values that trials report
    msg_dispatcher_base.load = json.loads  # whole messages of the manager
