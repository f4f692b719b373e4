"""What every other room may need and what knows nothing of models: files, locks, folders, downloads, numbers, errors.

`files` is the one to read first: everything that gptlib writes goes through it.
"""
