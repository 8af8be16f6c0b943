"""AffinityNet and IRNet: which pixels belong together, learned from confident ones, and the walk of CAMs over them."""
from mmwsss.models.affinity.affinity_head import AffinityHead
from mmwsss.models.affinity.affinity_loss import AffinityLoss, PixelPairs, affinity_losses, sort_pairs
from mmwsss.models.affinity.affinity_net import AffinityNet
from mmwsss.models.affinity.base_affinity_model import BaseAffinityModel
from mmwsss.models.affinity.displacement_head import DisplacementHead
from mmwsss.models.affinity.displacement_loss import DisplacementLoss, displacement_losses
from mmwsss.models.affinity.edge_head import EdgeHead
from mmwsss.models.affinity.irnet import IRNet
from mmwsss.models.affinity.pixel_pairs import (
    clipped_radius,
    edge_affinity,
    feature_affinity,
    half_disc_offsets,
    lattice_path,
    pair_mask,
    pair_windows,
)
from mmwsss.models.affinity.random_walk import RandomWalk, chebyshev_coefficients, random_walk

__all__ = [
    'AffinityHead', 'AffinityLoss', 'AffinityNet', 'BaseAffinityModel', 'DisplacementHead', 'DisplacementLoss',
    'EdgeHead', 'IRNet', 'PixelPairs', 'RandomWalk', 'affinity_losses', 'chebyshev_coefficients', 'clipped_radius',
    'displacement_losses', 'edge_affinity', 'feature_affinity', 'half_disc_offsets', 'lattice_path', 'pair_mask',
    'pair_windows', 'random_walk', 'sort_pairs'
]
