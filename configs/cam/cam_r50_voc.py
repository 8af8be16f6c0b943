# CAM with IRNet's recipe: ResNet50 in torchvision's style, stem and first two stages frozen, VOC trainaug, long side
# 320-640, crop 512, batch 16, 5 epochs, lr 0.1 (classifier x10), biases like weights, with decay.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_cam.py', '../_base_/pipelines/cam_512.py',
          '../_base_/models/cam_resnet50_torchvision.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(paramwise_cfg=dict(bias_mult=1, new_bias_mult=10, bias_decay_mult=1))
