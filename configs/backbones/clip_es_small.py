# CLIP-ES: nothing is trained. The gradient CAM of the class token's score against the texts of `embeddings`, at the
# last block but one of CLIP ViT-B/16, along the attention of the last eight blocks.
_base_ = '../cam/cam_efflite0_small.py'
model = dict(
    data_preprocessor=dict(mean=[122.771, 116.746, 104.094], std=[68.501, 66.632, 70.323]),
    backbone=dict(_delete_=True, type='HFBackbone', model='openai/clip-vit-base-patch16', project=True,
                  final_norm=False, out_indices=(-2, -1), attention_blocks=8),
    cam_head=dict(_delete_=True, type='TextCAMHead', num_classes=None, embeddings='text_embeddings.npy',
                  source='token'),
    cam_provider=dict(type='GradCAM', stage='0'),
    inference_hooks=[dict(type='AttentionRefinement', sinkhorn=3, symmetric=True, times=2)])
