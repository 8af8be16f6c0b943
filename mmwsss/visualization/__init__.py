"""Pictures of CAMs and labels, and the visualisers of mmseg."""
import mmseg.visualization  # noqa: F401  (a child registry does not import its parent's modules)

from mmwsss.visualization.draw import (
    draw_cam,
    draw_label,
    draw_legend,
    fit_image,
    save_png,
    side_by_side,
    write_on,
)
from mmwsss.visualization.report_figure import stage_figure

__all__ = ['draw_cam', 'draw_label', 'draw_legend', 'fit_image', 'save_png', 'side_by_side',
           'stage_figure', 'write_on']
