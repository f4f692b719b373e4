"""The commands of `gptlib`, a module each: USAGE, `add_arguments(parser)` and `run(options, parser)`.

parsing.py has their parser, values.py the types of options, options.py those that several share.
"""
