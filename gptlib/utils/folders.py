"""Where the workbook is, and where gptlib keeps what is the user's."""

import os
from pathlib import Path


def project_root() -> Path:
    """The workbook's folder, which holds data/ and model_weights/.

    The environment variable GPTLIB_HOME, if set; else the nearest folder with a `data` and a `notebooks` folder, from
    the current one upwards; else the checkout that gptlib was installed from; else the current folder.
    """
    if home := os.environ.get("GPTLIB_HOME"):
        return Path(home)
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "data").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return here


def data_folder() -> Path:
    """The environment variable GPTLIB_DATA, if set; else the platform's usual place for an application's data."""
    if folder := os.environ.get("GPTLIB_DATA"):
        return Path(folder)
    import platformdirs  # here, because with the variable set nobody needs it

    # roaming: on Windows it follows a user of several machines, as progress through a book should.
    return platformdirs.user_data_path("gptlib", appauthor=False, roaming=True)
