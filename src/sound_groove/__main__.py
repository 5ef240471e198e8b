"""Lets `python -m sound_groove` do what `sound-groove` does."""

import sys

from sound_groove.cli import main

sys.exit(main())
