# SLAM on ResNet38 for VOC trainaug. The paper's recipe is not public; this is that of SemFormer's segmentor (20 epochs,
# batch 8, lr 0.005, decay 5e-4), with the images and the momentum of ../cam, from whose classifier it starts.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_cam.py', '../_base_/pipelines/cam_448.py',
          '../_base_/models/slam_resnet38.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(batch_size=8, dataset=dict(pipeline={{_base_.train_pipeline}}))
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.005, momentum=5e-4, weight_decay=5e-4))
train_cfg = dict(max_epochs=20)
