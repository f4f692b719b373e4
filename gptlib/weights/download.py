"""OpenAI's seven files of a GPT-2, from OpenAI's host or a mirror, into a folder of our own.

If the hosts can't be reached, two environment variables name others with the same layout, {host}/{size}/{file}:
GPTLIB_OPENAI_URL in place of OpenAI's host (then alone, since what it serves may be other models), and
GPTLIB_OPENAI_MIRROR for the host that is asked if the first one fails (empty: none).
"""

import json
import os
from pathlib import Path

from gptlib.model.config import GPT2_CONFIGS
from gptlib.utils.download import RETRY, RetryPolicy, ensure_room, fetch
from gptlib.utils.folders import project_root
from gptlib.weights.sizes import check_size
from gptlib.weights.tensorflow import NUMBERS

OFFICIAL = "https://openaipublic.blob.core.windows.net/gpt-2/models"
MIRROR = "https://f001.backblazeb2.com/file/LLMs-from-scratch/gpt2"

HPARAMS, DATA = "hparams.json", "model.ckpt.data-00000-of-00001"
FILES = (HPARAMS, "checkpoint", "encoder.json", "vocab.bpe", "model.ckpt.index", "model.ckpt.meta", DATA)
"""In the order in which they are fetched: the one that tells the shape first, the large one last."""

DATA_BYTES = {"124M": 497_759_232, "355M": 1_419_292_672, "774M": 3_096_120_320, "1558M": 6_230_444_800}
"""Four bytes a parameter: true of every checkpoint of these shapes, whatever its numbers."""
DATA_SHA256 = {"124M": "2060c885360cc0cf41d7a6dbc4d24b5127aae20260c8b5ae521b5a6578407118"}
"""Of OpenAI's own numbers."""
_OTHER_BYTES = 4_000_000  # what the six small files need at most


def openai_hosts() -> tuple[list[str], bool]:
    """The hosts in the order in which they are asked, and whether they serve OpenAI's own numbers."""
    first, second = os.environ.get("GPTLIB_OPENAI_URL"), os.environ.get("GPTLIB_OPENAI_MIRROR")
    if second is None and not first:
        second = MIRROR
    return [host.rstrip("/") for host in (first or OFFICIAL, second) if host], not first


def fetch_openai_files(size: str, models_dir: str | Path | None = None, *, retry: RetryPolicy = RETRY) -> Path:
    """The folder `models_dir`/`size` with OpenAI's seven files; what is missing or has the wrong size is fetched.

    models_dir: model_weights/openai in the workbook's folder, if not given. Files that were put there by hand count.

    Raises: ValueError for a size that is none; DownloadError, saying what to do.
    """
    size = check_size(size)
    folder = Path(models_dir or project_root() / "model_weights" / "openai") / size
    hosts, original = openai_hosts()

    def get(name: str, **known) -> None:
        urls = [f"{host}/{size}/{name}" for host in hosts]  # "/" and not os.path.join, which is "\" on Windows
        fetch(urls, folder / name, **known, otherwise=_other_ways(size, folder), retry=retry)

    if _fault_of_hparams(folder / HPARAMS):
        get(HPARAMS, check=_fault_of_hparams)
    n_bytes = DATA_BYTES[size] if _has_official_shape(folder / HPARAMS, size) else None
    missing = [name for name in FILES if not _is_whole(folder / name, n_bytes if name == DATA else None)]
    if DATA in missing:
        part = folder / f"{DATA}.part"
        ensure_room(folder, (n_bytes or 0) + _OTHER_BYTES - (part.stat().st_size if part.is_file() else 0))
    for name in missing:
        official = original and n_bytes is not None
        known = {"size": n_bytes, "sha256": DATA_SHA256.get(size) if official else None} if name == DATA else {}
        get(name, **known)
    return folder


def _is_whole(path: Path, size: int | None) -> bool:
    return path.is_file() and (path.stat().st_size == size if size is not None else path.stat().st_size > 0)


def _fault_of_hparams(path: Path) -> str:
    """What is wrong with the file that gives the shape; "" if nothing is."""
    try:
        hparams = json.loads(path.read_bytes()[:10_000])
    except (OSError, ValueError, RecursionError):
        return "it is not JSON"
    whole = isinstance(hparams, dict) and all(type(hparams.get(key)) is int for key in NUMBERS.values())
    return "" if whole else f"it should have whole numbers for {', '.join(NUMBERS.values())}"


def _has_official_shape(path: Path, size: str) -> bool:
    """Whether the model is as large as its name says; small stand-ins, as in tests, are not."""
    hparams, config = json.loads(path.read_bytes()), GPT2_CONFIGS[size]
    return all(hparams[theirs] == config[ours] for ours, theirs in NUMBERS.items())


def _other_ways(size: str, folder: Path) -> str:
    return (
        "check the network, behind a proxy the variables HTTPS_PROXY and NO_PROXY; or name another host in "
        f"GPTLIB_OPENAI_URL; or take Hugging Face's copy, load_hf_gpt2({size!r}); or put the {len(FILES)} files into "
        f"'{folder}' by hand"
    )
