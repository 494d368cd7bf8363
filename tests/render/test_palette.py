"""Colours of classes and of soft labels can be told apart."""

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from softlabel.render import class_colour


def test_colours_of_classes_differ():
    colours = [class_colour(k) for k in range(61)]
    assert len(set(colours)) == 61
    assert all(0 <= c <= 1 for colour in colours for c in colour)


# Machado, Oliveira & Fernandes (2009), severity 1, for linear RGB
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]  # fmt: skip


DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881]]  # fmt: skip


@pytest.mark.parametrize("matrix", [np.eye(3), PROTANOPIA, DEUTERANOPIA])
def test_colours_of_the_first_classes_differ_for_colour_blind_people_too(matrix):
    colours = np.array([class_colour(k) for k in range(16)])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(matrix), 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    for a in range(16):
        for b in range(a):
            assert deltaE_ciede2000(lab[a], lab[b]) > 9, (a, b)
