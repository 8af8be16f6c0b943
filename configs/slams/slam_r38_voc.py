# SLAM on ResNet38 for VOC trainaug. The paper's recipe is not public; this is that of SemFormer's segmentor (20 epochs,
# batch 8, lr 0.005), with the images of ../cam,
# from whose classifier it starts.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_cam.py', '../_base_/models/slam_resnet38.py',
          '../_base_/schedules/cam_sgd.py']
crop_size = (448, 448)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizeLong', long_side=(448, 768)),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackWSSSInputs'),
]
model = dict(data_preprocessor=dict(size=crop_size))
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.005))
train_cfg = dict(max_epochs=20)
