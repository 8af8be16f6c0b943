# encoder_r38_voc.py on COCO 2014, 5 epochs: twice the iterations of VOC. A choice of this project.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/coco_cam.py', '../_base_/pipelines/cam_224.py',
          '../_base_/models/semantic_encoder_resnet38.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(batch_size=64, dataset=dict(pipeline={{_base_.train_pipeline}}))
auto_scale_lr = dict(base_batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.025, momentum=5e-4, weight_decay=5e-4))
train_cfg = dict(max_epochs=5)
test_dataloader = test_evaluator = test_cfg = None  # it becomes a part of a SLAM, and that is tested
