"""Grad-CAM, Grad-CAM++ and Layer-CAM of one image and class, position by position."""
import torch


def loop_grad_cam(feat, grad, score=None):
    cam = torch.zeros(feat.shape[1:], dtype=torch.float64)
    for k in range(feat.shape[0]):
        cam += sum(float(g) for g in grad[k].flatten()) / cam.numel() * feat[k]
    return cam.clamp(min=0)


def loop_grad_cam_pp(feat, grad, score=None):
    """The paper's, from the second and third derivatives of exp(S)."""
    cam, factor = torch.zeros(feat.shape[1:], dtype=torch.float64), 1 if score is None else float(torch.exp(score))
    for k in range(feat.shape[0]):
        weight = 0
        for g in grad[k].flatten().tolist():
            first, second, third = (factor * g ** power for power in (1, 2, 3))
            if second > 0:
                weight += second / (2 * second + sum(a * third for a in feat[k].flatten())) * max(first, 0)
        cam += weight * feat[k]
    return cam.clamp(min=0)


def loop_layer_cam(feat, grad, score=None):
    cam = torch.zeros(feat.shape[1:], dtype=torch.float64)
    for i in range(cam.shape[0]):
        for j in range(cam.shape[1]):
            cam[i, j] = max(0, sum(max(0, grad[k, i, j]) * feat[k, i, j] for k in range(feat.shape[0])))
    return cam


LOOPS = dict(GradCAM=loop_grad_cam, GradCAMPlusPlus=loop_grad_cam_pp, LayerCAM=loop_layer_cam)
