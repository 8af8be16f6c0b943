"""Hooks of MMEngine's Runner."""
from mmwsss.engine.hooks.cam_visualization_hook import CAMVisualizationHook
from mmwsss.engine.hooks.channels_last_hook import ChannelsLastHook
from mmwsss.engine.hooks.checkpoint_hook import SafeCheckpointHook
from mmwsss.engine.hooks.finite_loss_hook import FiniteLossHook
from mmwsss.engine.hooks.fixed_view_hook import FixedViewHook
from mmwsss.engine.hooks.input_statistics_hook import InputStatisticsHook
from mmwsss.engine.hooks.loss_weight_schedule_hook import LossWeightScheduleHook
from mmwsss.engine.hooks.mean_displacement_hook import MeanDisplacementHook
from mmwsss.engine.hooks.normalization_hook import NormalizationHook
from mmwsss.engine.hooks.progress_hook import ProgressHook
from mmwsss.engine.hooks.seed_hook import SeedHook
from mmwsss.engine.hooks.support_net_hook import SupportNetHook

__all__ = ['CAMVisualizationHook', 'ChannelsLastHook', 'FiniteLossHook', 'FixedViewHook', 'InputStatisticsHook',
           'LossWeightScheduleHook', 'MeanDisplacementHook', 'NormalizationHook', 'ProgressHook',
           'SafeCheckpointHook', 'SeedHook', 'SupportNetHook']
