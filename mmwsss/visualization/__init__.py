"""Pictures of CAMs and labels, and the visualisers of mmseg."""
# ruff: noqa: E402
from mmwsss.utils.quiet_imports import import_quietly

import_quietly('mmseg.visualization')  # fills the parent registry, which Registry.get does not

from mmwsss.visualization.draw import (
    display_palette,
    draw_cam,
    draw_label,
    draw_legend,
    fit_image,
    save_png,
    side_by_side,
    write_on,
)
from mmwsss.visualization.report_figure import stage_figure
from mmwsss.visualization.saliency_conflict import (
    LabelledImage,
    conflict_map,
    conflict_temperature,
    draw_saliency_conflict,
    histogram,
    plot_histogram,
)

__all__ = ['LabelledImage', 'conflict_map', 'conflict_temperature', 'display_palette', 'draw_cam', 'draw_label',
           'draw_legend', 'draw_saliency_conflict', 'fit_image', 'histogram', 'plot_histogram', 'save_png',
           'side_by_side', 'stage_figure', 'write_on']
