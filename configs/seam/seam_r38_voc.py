# SEAM as in the paper: ResNet38, VOC trainaug, long side 448-768, crop 448, batch 8 over all GPUs, 8 epochs, lr 0.01.
# The paper names no momentum; this is that of the released code, whose optimizer hands weight_decay to SGD in
# momentum's place (see ../_base_/schedules/cam_sgd.py). Images and predictions are as in that code, see README.md.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_cam.py', '../_base_/pipelines/cam_448.py',
          '../_base_/models/seam_resnet38.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(batch_size=8, dataset=dict(pipeline={{_base_.train_pipeline}}))
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.01, momentum=5e-4, weight_decay=5e-4))
train_cfg = dict(max_epochs=8)
