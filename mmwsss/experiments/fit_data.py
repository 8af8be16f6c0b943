"""Fitting the configs of a pipeline or a study to a data folder."""
from mmengine.config import Config

from mmwsss.config.config import fit_to_data
from mmwsss.datasets.data_folder import DataFolder


def fit_to_folder(cfg: Config, data: DataFolder) -> Config:
    """Fits every data set of a config to a data folder, and sets seed, classes and number of classes, in place.

    Args:
        cfg: A config of a training or a test.
        data: The data.

    Returns:
        ``cfg``.
    """
    if data.class_list is not None:
        cfg.classes = list(data.class_list)
    return fit_to_data(cfg, data)
