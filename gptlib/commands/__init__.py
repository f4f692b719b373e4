"""The commands of `gptlib`, one file each: `add_arguments(parser)` and `run(options)`, found by gptlib.cli."""
