"""Files from the Hugging Face Hub through its own client, with its cache, its progress bars and its HF_ENDPOINT."""

from pathlib import Path

from gptlib.utils.errors import DownloadError
from gptlib.utils.text import shorten
from gptlib.weights.safetensors import INDEX, SINGLE, read_weight_map

CONFIG = "config.json"
_TIMEOUT = 10  # seconds until the server must have said something


def hub_folder(repository: str) -> Path:
    """The folder in the cache with a model's config.json and tensors; what is missing there is downloaded.

    Only these files are fetched, all of one revision. What is complete in the cache is taken without asking anybody:
    that works offline, at once, and the official weights don't change. Raises DownloadError if they can't be had.
    """
    _check_installed()
    if folder := cached_folder(repository):
        return folder
    _check_reachable(repository)
    folder = _fetch(repository, CONFIG).parent  # …/snapshots/REVISION
    if _fetch(repository, SINGLE, folder.name, optional=True) is None:
        index = _fetch(repository, INDEX, folder.name)
        for file in sorted(set(read_weight_map(index).values())):
            _fetch(repository, file, folder.name)
    return folder


def cached_folder(repository: str) -> Path | None:
    """The folder in the cache, if everything of the model is there."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repository, CONFIG)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    needed = [SINGLE]
    if not (folder / SINGLE).is_file() and (folder / INDEX).is_file():
        needed = list(read_weight_map(folder / INDEX).values())
    return folder if all((folder / file).is_file() for file in needed) else None


def _check_installed() -> None:
    try:
        import huggingface_hub  # noqa: F401
        import safetensors  # noqa: F401
    except ImportError as error:
        raise DownloadError(
            f"The package {error.name} is not installed; run `pip install huggingface-hub safetensors`, or take "
            "OpenAI's own files, with load_openai_gpt2."
        ) from None


def _check_reachable(repository: str) -> None:
    """Raise DownloadError at once if nobody answers; the client itself would try for half a minute."""
    from huggingface_hub import get_session, hf_hub_url

    try:
        get_session().head(hf_hub_url(repository, CONFIG), timeout=_TIMEOUT)
    except Exception as error:  # of the network, in the words of whatever library is below
        raise _unreachable(repository, CONFIG, error) from None


def _unreachable(repository: str, file: str, error: Exception) -> DownloadError:
    return DownloadError(
        f"'{file}' of '{repository}' is not in Hugging Face's cache, and its server can't be reached "
        f"({shorten(error)}); go online once (a proxy goes into HTTPS_PROXY, a mirror into HF_ENDPOINT), or give a "
        f"folder with {CONFIG} and {SINGLE}."
    )


def _fetch(repository: str, file: str, revision: str | None = None, optional: bool = False) -> Path | None:
    """One file of the repository in the cache; None if it is optional and the repository has none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(hf_hub_download(repository, file, revision=revision))
    except LocalEntryNotFoundError as error:  # not in the cache, and the network has gone meanwhile
        raise _unreachable(repository, file, error.__cause__ or error) from None
    except EntryNotFoundError:
        if optional:
            return None
        raise DownloadError(
            f"The repository '{repository}' has no '{file}', so gptlib can't load its model; choose another."
        ) from None
    except RepositoryNotFoundError:
        raise DownloadError(
            f"Hugging Face has no public repository '{repository}', and no folder here has that name; check it."
        ) from None
    except Exception as error:  # whatever the server or the disk does
        raise DownloadError(
            f"'{file}' of '{repository}' could not be downloaded ({shorten(error)}); try again, or give a folder "
            f"with {CONFIG} and {SINGLE}."
        ) from None
