"""``python -m nni_dream.cli``."""

from nni_dream.cli import main

main()
