# cam_r50_small.py for photographs of VOC's own size (long side about 500): images as the papers have them, and as many
# epochs. For 1,200 images two hours on two cores.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/small_cam.py', '../_base_/pipelines/cam_448.py',
          '../_base_/models/cam_resnet50.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=0.0))
train_cfg = dict(max_epochs=15)
test_cfg = dict(max_side=1024)
