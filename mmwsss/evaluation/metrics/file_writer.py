"""Base of the evaluators that write one file per image."""
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric

from mmwsss.datasets.layout import stem_of
from mmwsss.utils.fileio import remove_leftovers


class FileWriter(BaseMetric):
    """Writes one file per sample and counts them over the ranks.

    Subclasses set ``count_name`` and implement :meth:`write`. Files are written as the samples come, by the rank
    that has them; nothing is gathered. Before its first, a rank removes what killed processes have left half-written
    in the folder.

    Args:
        out_dir: Folder of the files.
        prefix: Put before the name of the count, with a slash.
    """

    default_prefix = ''
    count_name: str

    def __init__(self, out_dir: str, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self.out_dir = Path(out_dir)
        self.count = 0
        self._is_clean = False

    @abstractmethod
    def write(self, sample: dict, stem: str) -> None:
        """Writes the file of a sample.

        Args:
            sample: A prediction, as dict.
            stem: The path of its file in ``out_dir``, without suffix.
        """

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Writes the files of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions as dicts. The file's name is ``stem``, or, from pipelines that do not pack
                it, the stem of ``img_path``.
        """
        if not self._is_clean:
            remove_leftovers(self.out_dir, recursive=True)
            self._is_clean = True
        for sample in data_samples:
            self.write(sample, sample.get('stem') or stem_of(sample['img_path']))
            self.count += 1

    def evaluate(self, size: int) -> dict[str, int]:
        """Returns how many files were written, on all ranks together.

        Args:
            size: Number of images. A sampler repeats some where the ranks would not have as many each, and the file of
                one is written again.
        """
        total = torch.tensor([self.count])
        all_reduce(total, op='sum')
        self.count = 0
        metrics = self.compute_metrics([min(int(total), size)])
        return {f'{self.prefix}/{key}': value for key, value in metrics.items()} if self.prefix else metrics

    def compute_metrics(self, results: list[int]) -> dict[str, int]:
        """Names the sum of the counts in ``results``."""
        return {self.count_name: sum(results)}
