"""Samplers of data loaders."""
from mmwsss.engine.samplers.same_size_batch_sampler import SameSizeBatchSampler

__all__ = ['SameSizeBatchSampler']
