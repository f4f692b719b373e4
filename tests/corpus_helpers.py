"""What the tests of prepared corpora share: a text with all that can go wrong at line ends and in between."""

TEXT = "".join(
    f"{k}. The  miller's cat sat by the window —\n\n\tand watched   the rain, {k * 7} times.\r\n" for k in range(400)
)
CLEAN = TEXT.replace("\r\n", "\n")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())
