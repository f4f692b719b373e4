"""List the exercises of the book with what you have done, or forget it."""

from gptlib.exercises import progress, reset
from gptlib.exercises.registry import written_chapters

USAGE = "gptlib exercises [--chapter N] [--reset [NAME]]"

EVERYTHING = "*"


def add_arguments(parser) -> None:
    parser.add_argument("--chapter", type=int | None, default=None, help="only the exercises of this chapter")
    parser.add_argument(
        "--reset",
        nargs="?",
        const=EVERYTHING,
        metavar="NAME",
        help="forget what you did in this exercise, or in all of them if no name is given",
    )


def run(options, parser) -> int:
    """Print the chapters' lists and the sum of all, or what was reset."""
    if options.reset is not None:
        if options.chapter is not None:
            raise ValueError(
                f"--reset and --chapter {options.chapter} can't go together; give --reset an exercise's name, or "
                "nothing for all."
            )
        print(reset(None if options.reset == EVERYTHING else options.reset))
        return 0
    if options.chapter is not None:
        print(progress(options.chapter))
        return 0
    for chapter in written_chapters():
        print(f"{chapter.number} {chapter.title}\n{progress(chapter.number)}\n")
    print(progress())
    return 0
