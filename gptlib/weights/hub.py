"""Files from the Hugging Face Hub through its own client, with its cache, its progress bars and its HF_ENDPOINT."""

from pathlib import Path

from gptlib.weights.download import DownloadError
from gptlib.weights.names import shortened
from gptlib.weights.safetensors_files import INDEX, SINGLE, read_weight_map

CONFIG = "config.json"


def hub_folder(repository: str) -> Path:
    """The folder in the cache with a model's config.json and tensors, after what was missing is downloaded.

    Only these files are fetched, all of one revision. Raises DownloadError where they can't be had.
    """
    config = _fetch(repository, CONFIG)
    folder = config.parent  # …/snapshots/REVISION
    in_parts = (folder / INDEX).is_file()  # as offline nobody could say that there is no single file
    if in_parts or _fetch(repository, SINGLE, folder.name, optional=True) is None:
        index = _fetch(repository, INDEX, folder.name)
        for file in sorted(set(read_weight_map(index).values())):
            _fetch(repository, file, folder.name)
    return folder


def _fetch(repository: str, file: str, revision: str | None = None, optional: bool = False) -> Path | None:
    """One file of the repository in the cache; None where it is optional and the repository has none."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise DownloadError(
            "huggingface_hub is not installed; run `pip install huggingface-hub safetensors`, or give the folder of a "
            "model that you have."
        ) from None
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
    except LocalEntryNotFoundError as error:  # nothing in the cache, and no answer
        reason = shortened(error.__cause__ or error)
        raise DownloadError(
            f"'{file}' of '{repository}' is not in Hugging Face's cache, and its server can't be reached ({reason}); "
            "go online once (a proxy goes into HTTPS_PROXY, a mirror into HF_ENDPOINT), or give a folder with "
            f"{CONFIG} and {SINGLE}."
        ) from None
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
    except Exception as error:  # whatever the network, the server or the disk does
        raise DownloadError(
            f"'{file}' of '{repository}' could not be downloaded ({shortened(error)}); try again, or give a folder "
            f"with {CONFIG} and {SINGLE}."
        ) from None
