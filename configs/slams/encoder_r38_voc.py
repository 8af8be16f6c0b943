# SLAMs' semantic encoder on ResNet38 for VOC trainaug. The paper's recipe is not public; batch, rate, decay and image
# size are those of SemFormer's autoencoder, its 200 epochs are 20 here; the momentum is that of ../cam.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/voc_cam.py', '../_base_/pipelines/cam_224.py',
          '../_base_/models/semantic_encoder_resnet38.py', '../_base_/schedules/cam_sgd.py']
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(batch_size=64, dataset=dict(pipeline={{_base_.train_pipeline}}))
auto_scale_lr = dict(base_batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.025, momentum=5e-4, weight_decay=5e-4))
train_cfg = dict(max_epochs=20)
test_dataloader = test_evaluator = test_cfg = None  # it becomes a part of a SLAM, and that is tested
