"""Files from the web: resumed, retried, verified, put in place whole, by one process at a time.

`core` is the order of events, `asking` one request and what can go wrong with it, `part` the unfinished file.
"""

from gptlib.fetching.core import PATIENCE, DownloadError, Patience, ensure_room, fetch

__all__ = ["PATIENCE", "DownloadError", "Patience", "ensure_room", "fetch"]
