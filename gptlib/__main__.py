"""`python -m gptlib` is `gptlib`."""

import runpy

runpy.run_module("gptlib.commands.cli", run_name="__main__")
