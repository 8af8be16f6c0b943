import numpy as np
import pytest

from mmwsss.postprocessing import pseudo_label
from mmwsss.structures.cam_file import CAMFile
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError

CONFIDENT = {'type': 'confident', 'foreground': {'type': 'constant', 'threshold': 0.6},
             'background': {'type': 'constant', 'threshold': 0.2}}


def test_largest_class_id(tmp_path):
    cam_file = CAMFile(np.array([253]), np.ones((1, 2, 3), np.float16), (2, 3))
    assert (pseudo_label(cam_file, np.zeros((2, 3, 3), np.uint8)) == 254).all()


def test_pseudo_label_checks_the_size():
    cam_file = CAMFile(np.array([0]), np.ones((1, 2, 3), np.float16), (4, 6))
    with pytest.raises(UserError, match=r'\(6, 4\)'):
        pseudo_label(cam_file, np.zeros((6, 4, 3), np.uint8))


def test_conflicts_of_the_two_results():
    cam_file = CAMFile(np.array([4]), np.float16([[[0.1, 0.4, 0.8]]]), (1, 3))

    def inverted(score_map, image):
        """What is a class under a high background becomes background under a low one, and the other way round."""
        scores = score_map.scores.copy()
        scores[0] = 0.8 - scores[0]
        return ScoreMap(scores, score_map.classes)

    image = np.zeros((1, 3, 3), np.uint8)
    assert pseudo_label(cam_file, image, CONFIDENT).tolist() == [[0, 255, 5]]
    # Background scores 0.2 and 0.6: the class under much is the background under a low one.
    assert pseudo_label(cam_file, image, CONFIDENT, [inverted]).tolist() == [[0, 0, 5]]
    assert pseudo_label(cam_file, image, {**CONFIDENT, 'conflict': 'class'}, [inverted]).tolist() == [[0, 5, 5]]
