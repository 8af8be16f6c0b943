"""Small data sets in the forms in which CUB, ILSVRC and the metadata of wsolevaluation are distributed."""
import cv2
import numpy as np


def write_picture(path, height=12, width=16, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())
    return path


def make_cub(root, count=6):
    """Image i is of class i modulo 3; every third is for tests."""
    rows = {name: [] for name in ('images', 'image_class_labels', 'train_test_split', 'bounding_boxes')}
    for i in range(count):
        name = f'{1 + i % 3:03d}.Bird_{i % 3}/Bird_{i % 3}_{i:04d}.jpg'
        write_picture(root / 'images' / name, seed=i)
        rows['images'].append(f'{i + 1} {name}')
        rows['image_class_labels'].append(f'{i + 1} {1 + i % 3}')
        rows['train_test_split'].append(f'{i + 1} {int(i % 4 != 3)}')
        rows['bounding_boxes'].append(f'{i + 1} 2.0 3.0 {5.0 + i} 4.0')
    rows['classes'] = [f'{k + 1} {k + 1:03d}.Bird_{k}' for k in range(3)]
    for name, lines in rows.items():
        (root / f'{name}.txt').write_text('\n'.join(lines) + '\n')
    return root


OBJECT = '<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>'


def make_ilsvrc(root, classes=('n01', 'n02')):
    """Two images a class for training, one with boxes for validation; that of the second class has two boxes."""
    train, val = [], []
    for k, name in enumerate(classes):
        for i in range(2):
            write_picture(root / f'Data/CLS-LOC/train/{name}/{name}_{i}.JPEG', seed=i)
            train.append(f'{name}/{name}_{i} {len(train) + 1}')
        write_picture(root / f'Data/CLS-LOC/val/val_{k}.JPEG', seed=k)
        val.append(f'val_{k} {k + 1}')
        objects = [OBJECT.format(name, 1 + j, 2, 8, 9 + j) for j in range(1 + k % 2)]
        path = root / f'Annotations/CLS-LOC/val/val_{k}.xml'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('<annotation>' + ''.join(objects) + '</annotation>')
    lists = root / 'ImageSets/CLS-LOC'
    lists.mkdir(parents=True)
    (lists / 'train_cls.txt').write_text('\n'.join(train))
    (lists / 'val.txt').write_text('\n'.join(val))
    (root / 'LOC_synset_mapping.txt').write_text('\n'.join(f'{name} word, other word' for name in classes))
    return root
