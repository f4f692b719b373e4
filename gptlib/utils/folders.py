"""Where the workbook is."""

import os
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
