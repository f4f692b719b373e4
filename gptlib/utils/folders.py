"""Where the workbook is, and where gptlib keeps what is the user's."""

import os
import sys
from pathlib import Path


def project_root() -> Path:
    """The workbook's folder, which holds data/ and model_weights/.

    The environment variable GPTLIB_HOME, where set; else the nearest folder with a `data` and a `notebooks` folder,
    from the current one upwards; else the checkout that gptlib was installed from; else the current folder.
    """
    if home := os.environ.get("GPTLIB_HOME"):
        return Path(home)
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "data").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return here


def data_folder() -> Path:
    """Where gptlib keeps what is the user's: $GPTLIB_DATA, else the platform's usual place."""
    if folder := os.environ.get("GPTLIB_DATA"):
        return Path(folder)
    if sys.platform == "win32":
        base = os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", ""))
        base = base if base.is_absolute() else Path.home() / ".local" / "share"  # as the XDG specification has it
    return Path(base) / "gptlib"
