# SLAMs' semantic encoder on the generated scenes of `make demo` (long side 192).
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py',
          '../_base_/pipelines/cam_192_generated.py', '../_base_/models/semantic_encoder_efficientnet_lite0.py',
          '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.9))
train_cfg = dict(max_epochs=5)
test_dataloader = test_evaluator = test_cfg = None  # it becomes a part of a SLAM, and that is tested
