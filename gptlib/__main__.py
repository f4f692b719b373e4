"""`python -m gptlib` is `gptlib`."""

import sys

from gptlib.cli import main

sys.exit(main())
