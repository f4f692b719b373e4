"""For every pytest run here: notebooks work in a copy of the workbook's folder, and never touch what a user trained.

Those that download weights get small random ones from a mirror on this machine.
"""

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tools.refresh_notebooks import make_home
from tools.stand_ins import served_to

# PyTorch's threads wait for each other by spinning. Where another process takes a core meanwhile, tiny tensors like
# those of the tests then take up to a hundred times as long; asleep, they don't. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_configure(config):
    config.gptlib_home, config.gptlib_mirror = None, ExitStack()
    if config.getoption("nbmake", False) and "GPTLIB_HOME" not in os.environ:
        config.gptlib_home = Path(tempfile.mkdtemp(prefix="gptlib-"))
        make_home(config.gptlib_home)


def pytest_collection_finish(session):
    if session.config.gptlib_home:
        notebooks = [item.path.name for item in session.items]
        session.config.gptlib_mirror.enter_context(served_to(session.config.gptlib_home, notebooks))


def pytest_unconfigure(config):
    config.gptlib_mirror.close()
    if config.gptlib_home:
        shutil.rmtree(config.gptlib_home, ignore_errors=True)
        del os.environ["GPTLIB_HOME"], os.environ["GPTLIB_DATA"]
