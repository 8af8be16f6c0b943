"""Checkpoints of the original repositories, for ``tools/model_converters``."""
from mmwsss.converters.conversion import Conversion, Source, convert, load_torch_weights
from mmwsss.converters.irnet_keys import IRNET_CAM_SOURCE, IRNET_SOURCE
from mmwsss.converters.resnet38_keys import AFFINITYNET_SOURCE, PSA_SOURCE, RESNET38_MXNET_SOURCE, SEAM_SOURCE
from mmwsss.converters.resnet_keys import RESNET_SOURCES

SOURCES = dict(seam=SEAM_SOURCE, psa=PSA_SOURCE, affinitynet=AFFINITYNET_SOURCE, irnet_cam=IRNET_CAM_SOURCE,
               irnet=IRNET_SOURCE, resnet38_mxnet=RESNET38_MXNET_SOURCE, **RESNET_SOURCES)
"""Every kind of checkpoint by its short name."""

__all__ = ['SOURCES', 'Conversion', 'Source', 'convert', 'load_torch_weights']
