"""Pipelines: stages that meet in files."""
from mmwsss.experiments.pipeline import stages  # registers them
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.experiments.pipeline.run_pipeline import run_pipeline
from mmwsss.experiments.pipeline.stage import FILES, OTHER, ConfigStage, Stage, StageContext, StageResult

__all__ = ['FILES', 'OTHER', 'ConfigStage', 'Pipeline', 'Stage', 'StageContext', 'StageResult', 'run_pipeline',
           'stages']
