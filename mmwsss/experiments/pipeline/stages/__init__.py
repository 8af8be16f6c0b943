"""The stages that pipelines are made of."""
from mmwsss.experiments.pipeline.stages.cam import EvalCAM, MakeCAM, RefineCAM
from mmwsss.experiments.pipeline.stages.label import EvalLabel, PseudoLabel
from mmwsss.experiments.pipeline.stages.picture import Picture
from mmwsss.experiments.pipeline.stages.saliency import MakeSaliency
from mmwsss.experiments.pipeline.stages.test_segmentor import TestSegmentor
from mmwsss.experiments.pipeline.stages.train import Train
from mmwsss.experiments.pipeline.stages.voc_server import VOCServer

__all__ = ['EvalCAM', 'EvalLabel', 'MakeCAM', 'MakeSaliency', 'Picture', 'PseudoLabel', 'RefineCAM', 'TestSegmentor',
           'Train', 'VOCServer']
