"""The errors that a caller may want to catch; for everything else Python's ValueError and FileNotFoundError will do.

Each message says in one sentence what was wrong and what to do; the command line prints it as it stands.
"""


class CheckpointError(RuntimeError):
    """A checkpoint can't be read or written, or does not fit; the message says why and what to do."""


class DownloadError(RuntimeError):
    """A file could not be fetched; the message says why, from which hosts, and what to do."""
