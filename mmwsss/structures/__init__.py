"""Data structures that the stages share, the formats of the files between stages, and arithmetic on maps."""
from mmwsss.structures.cam_file import (
    CAMFile,
    CAMManifest,
    cam_path,
    open_cam_dir,
    read_cam,
    read_manifest,
    write_cam,
)
from mmwsss.structures.cam_output import CAMFunction, CAMOutput
from mmwsss.structures.feature_maps import AttentionMaps, FeatureMaps
from mmwsss.structures.image_file import check_image, read_image
from mmwsss.structures.label_file import label_path, read_label, voc_palette, write_label
from mmwsss.structures.maps import (
    grid_size,
    max_normalize,
    min_max_normalize,
    rescale_images,
    resize_aligned,
    resize_cam,
    resize_maps,
)
from mmwsss.structures.score_map import ScoreMap
from mmwsss.structures.settings_folder import SettingsFolder

__all__ = [
    'AttentionMaps', 'CAMFile', 'CAMFunction', 'CAMManifest', 'CAMOutput', 'FeatureMaps', 'ScoreMap',
    'SettingsFolder', 'cam_path', 'check_image', 'grid_size', 'label_path', 'max_normalize', 'min_max_normalize',
    'open_cam_dir', 'read_cam', 'read_image', 'read_label', 'read_manifest', 'rescale_images', 'resize_aligned',
    'resize_cam', 'resize_maps', 'voc_palette', 'write_cam', 'write_label'
]
