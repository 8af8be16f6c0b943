"""Data structures that the stages share, and the formats of the files between stages."""
from mmwsss.structures.cam_output import CAMFunction, CAMOutput
from mmwsss.structures.score_map import ScoreMap

__all__ = ['CAMFunction', 'CAMOutput', 'ScoreMap']
