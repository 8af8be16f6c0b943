"""Pipelines: stages that meet in files."""
from mmwsss.experiments.pipeline import stages  # registers them
from mmwsss.experiments.pipeline.dry_run import DryStage, dry_run, run_dry
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.experiments.pipeline.run_pipeline import run_pipeline
from mmwsss.experiments.pipeline.stage import FILES, OTHER, ConfigStage, Stage, StageContext, StageResult

__all__ = ['FILES', 'OTHER', 'ConfigStage', 'DryStage', 'Pipeline', 'Stage', 'StageContext', 'StageResult', 'dry_run',
           'run_dry', 'run_pipeline', 'stages']
