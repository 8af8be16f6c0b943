# Table 1, RCM and the multi-multi module. Targets are divided by their maximum
# again: the figures in README.md were made so.
_base_ = './rcm_mam_efflite0_small.py'
model = dict(mam=dict(mode='mmm', renormalize=True))
