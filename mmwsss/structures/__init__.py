"""Data structures that the stages share, and the formats of the files between stages."""
from mmwsss.structures.cam_file import (
                                        CAMFile,
                                        CAMManifest,
                                        cam_path,
                                        open_cam_dir,
                                        read_cam,
                                        read_manifest,
                                        resize_cam,
                                        write_cam,
)
from mmwsss.structures.cam_output import CAMFunction, CAMOutput
from mmwsss.structures.label_file import label_path, read_label, voc_palette, write_label
from mmwsss.structures.score_map import ScoreMap

__all__ = ['CAMFile', 'CAMFunction', 'CAMManifest', 'CAMOutput', 'ScoreMap', 'cam_path', 'label_path', 'open_cam_dir',
           'read_cam', 'read_label', 'read_manifest', 'resize_cam', 'voc_palette', 'write_cam', 'write_label']
