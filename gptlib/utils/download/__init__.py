"""Files from the web: resumed, retried, verified, put in place whole, by one process at a time.

Why it is ours: urllib3, requests and pooch start a broken download from the beginning, which for six gigabytes is no
download at all. huggingface_hub serves its own hub only (weights/hub.py leaves that to it); it checks sizes
only, and does not continue what an earlier run has begun.

`fetching` is the order of events, `request` one request and what can go wrong with it, `part` the unfinished file.
"""

from gptlib.utils.download.fetching import RETRY, RetryPolicy, ensure_room, fetch
from gptlib.utils.errors import DownloadError

__all__ = ["RETRY", "DownloadError", "RetryPolicy", "ensure_room", "fetch"]
