"""The errors that a caller may want to catch; each message says what was wrong and what to do."""


class CheckpointError(RuntimeError):
    """A checkpoint can't be read, or can't be written, or does not fit; the message says why and what to do."""


class DownloadError(RuntimeError):
    """A file could not be had; the message says why, from which hosts, and what to do."""
