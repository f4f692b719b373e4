"""Files from the web: resumed, retried, verified, put in place whole, by one process at a time.

`fetching` is the order of events, `request` one request and what can go wrong with it, `part` the unfinished file.
"""

from gptlib.utils.download.fetching import PATIENCE, Patience, ensure_room, fetch
from gptlib.utils.errors import DownloadError

__all__ = ["PATIENCE", "DownloadError", "Patience", "ensure_room", "fetch"]
