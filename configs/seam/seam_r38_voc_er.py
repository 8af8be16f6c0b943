# Table 1: the siamese network with equivariant regularisation alone.
_base_ = './seam_r38_voc.py'
model = dict(pcm=None, loss_ecr=None, loss_min_pool=None)
