# CAM with IRNet's recipe: ResNet50 stem and first two stages frozen, VOC trainaug, long side 320-640, crop 512,
# batch 16, 5 epochs, lr 0.1 (classifier x10). IRNet's own weights are torchvision's; ours are in caffe style.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_cam.py', '../_base_/pipelines/cam_512.py',
          '../_base_/models/cam_resnet50.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}), backbone=dict(frozen_stages=2))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
