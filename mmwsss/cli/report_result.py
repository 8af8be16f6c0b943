"""What the tools print at their end."""
import sys

from mmengine.dist import is_main_process

from mmwsss.utils.errors import EXIT_DONE, EXIT_SKIPPED


def report_result(message: str, skipped: list[tuple[str, str]], limit: int = 20) -> int:
    """Prints the outcome of a tool and what it left out, on the main process.

    Args:
        message: One line on what was done.
        skipped: (file, reason) for every file that was left out.
        limit: How many of them are listed one by one.

    Returns:
        The exit code: done, or done without files that were left out.
    """
    if is_main_process():
        print(message)
        for path, reason in skipped[:limit]:
            print(f'left out: {path}: {reason}', file=sys.stderr)
        if len(skipped) > limit:
            print(f'left out: {len(skipped) - limit} more files', file=sys.stderr)
    return EXIT_SKIPPED if skipped else EXIT_DONE
