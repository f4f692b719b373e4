"""The four official GPT-2s and the names that people know them by."""

from pathlib import Path

REPOSITORIES = {
    "124M": "openai-community/gpt2",
    "355M": "openai-community/gpt2-medium",
    "774M": "openai-community/gpt2-large",
    "1558M": "openai-community/gpt2-xl",
}
"""Each size, as OpenAI calls it, with its repository on the Hugging Face Hub."""

SELECTIONS = {
    "gpt2-small (124M)": "124M",
    "gpt2-medium (355M)": "355M",
    "gpt2-large (774M)": "774M",
    "gpt2-xl (1558M)": "1558M",
}
"""The names that the notebooks offer, with their sizes."""


def _plain(name: str) -> str:
    """Without case, spaces and brackets: "GPT2-small (124M)" -> "gpt2-small124m"."""
    return "".join(name.casefold().split()).replace("(", "").replace(")", "")


def _spellings() -> dict[str, str]:
    sizes = {_plain(selection): size for selection, size in SELECTIONS.items()}
    sizes |= {_plain(selection.split()[0]): size for selection, size in SELECTIONS.items()}
    for size, repository in REPOSITORIES.items():
        sizes |= {_plain(size): size, repository: size, repository.split("/")[1]: size}
    return sizes


_SIZES = _spellings()


def find_size(name: str | Path) -> str | None:
    """The size that is meant, "124M" to "1558M", or None if it is the name of none.

    Example: "124M", "gpt2-small (124M)", "gpt2-small", "gpt2" and "openai-community/gpt2" are all "124M".
    """
    return _SIZES.get(_plain(name)) if isinstance(name, str) else None


def check_size(name: str) -> str:
    """The size that is meant. Raises ValueError, with the names that there are, if it is the name of none."""
    size = find_size(name)
    if size is None:
        raise ValueError(f"{name!r} is no size of GPT-2; give {sizes_in_words()}.")
    return size


def find_folder(name: str | Path) -> Path | None:
    """The folder of that name; None for a name of another kind.

    Raises FileNotFoundError for a path where no folder is, ValueError for what is no name at all.
    """
    if not isinstance(name, str | Path):
        raise ValueError(f"{name!r} is no name of a model; give {sizes_in_words()}, or a folder.")
    if Path(name).is_dir():
        return Path(name)
    if isinstance(name, Path) or "/" in name or "\\" in name:
        raise FileNotFoundError(f"There is no folder '{name}'; check the path, or give a size as '124M'.")
    return None


def sizes_in_words() -> str:
    """Example: "'124M', '355M', '774M' or '1558M' (or 'gpt2-small (124M)' … 'gpt2-xl (1558M)')"."""
    *others, last = map(repr, REPOSITORIES)
    selections = list(SELECTIONS)
    return f"{', '.join(others)} or {last} (or {selections[0]!r} … {selections[-1]!r})"
