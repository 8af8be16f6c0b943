"""Segmentors beside those of mmsegmentation."""
from mmwsss.models.segmentors.saliency_encoder_decoder import SaliencyEncoderDecoder

__all__ = ['SaliencyEncoderDecoder']
