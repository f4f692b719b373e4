"""Ctrl-C that lets the step in hand be finished: in a terminal, and with the stop button of a notebook."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Within the block, the first Ctrl-C only sets the event; a second one raises KeyboardInterrupt as usual.

    An exception in the middle of a step could leave half of the weights updated. Signals arrive in the main thread
    only; in any other the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(signal_number, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
