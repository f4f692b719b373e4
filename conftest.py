"""For every pytest run here: notebooks work in a copy of the workbook's folder, and never touch what a user trained."""

import os
import shutil
import tempfile
from pathlib import Path

from tools.refresh_notebooks import make_home


def pytest_configure(config):
    config.gptlib_home = None
    if config.getoption("nbmake", False) and "GPTLIB_HOME" not in os.environ:
        config.gptlib_home = Path(tempfile.mkdtemp(prefix="gptlib-"))
        make_home(config.gptlib_home)


def pytest_unconfigure(config):
    if config.gptlib_home:
        shutil.rmtree(config.gptlib_home, ignore_errors=True)
        del os.environ["GPTLIB_HOME"]
