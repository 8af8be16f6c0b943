"""Segmentors beside those of mmsegmentation."""
from mmwsss.models.segmentors.multi_view_segmentor import MultiViewSegmentor, mean_of_views
from mmwsss.models.segmentors.saliency_encoder_decoder import SaliencyEncoderDecoder

__all__ = ['MultiViewSegmentor', 'SaliencyEncoderDecoder', 'mean_of_views']
