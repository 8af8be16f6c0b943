"""Digests of what the files of a data set hold."""
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mmwsss.datasets.file_cache import cached
from mmwsss.utils.fileio import sha256_of_file
from mmwsss.utils.parallel import default_num_workers


def file_digests(paths: Sequence[str]) -> dict[str, str]:
    """Returns path -> hex sha256 of each file's bytes; a file that is unchanged is not read again.

    Raises:
        OSError: If a file cannot be read.
    """
    def find(unknown: list[str]) -> list[str]:
        with ThreadPoolExecutor(min(32, max(4, 2 * default_num_workers()))) as executor:  # disks have latency
            return list(executor.map(sha256_of_file, unknown))

    return cached(paths, 'sha256', '1', find, lambda digest: [digest], _digest)


def _digest(values: list[str]) -> str:
    digest, = values
    if not isinstance(digest, str):
        raise TypeError('a digest is a text')
    return digest
