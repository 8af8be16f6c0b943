"""Digests of what the files of a data set hold."""
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mmwsss.utils.fileio import sha256_of_file
from mmwsss.utils.parallel import default_num_workers


def file_digests(paths: Sequence[str]) -> dict[str, str]:
    """Returns path -> hex sha256 of each file's bytes, read in threads."""
    with ThreadPoolExecutor(min(32, max(4, 2 * default_num_workers()))) as executor:
        return dict(zip(paths, executor.map(sha256_of_file, paths)))
