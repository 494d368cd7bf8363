"""Surfaces of a case, against the numbers on its pixels, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.measurements.scans import (
    SURFACES,
    Compared,
    Layers,
    Scales,
    scan_surfaces,
    volume_of,
)
from softlabel.measurements.sources import CaseLabels
from softlabel.surfaces import from_duke_layers

TWO = Layers(("top", "bottom"))
SPACING = (0.004, 0.01)


def block(top=2, bottom=6, shape=(10, 5)):
    """Class 1 from row ``top`` to before row ``bottom``."""
    labels = np.zeros(shape, np.uint8)
    labels[top:], labels[bottom:] = 1, 2
    return labels


def case(labels, case_id="scan", **changes):
    made = CaseLabels(case_id, f"{case_id}.png", "", {"labels": labels}, spacing_mm=SPACING)
    return replace(made, **changes)


def surfaces(one, two=None, layers=TWO, scales=None, **options):
    return scan_surfaces(
        Compared(one, "labels", two, "labels"), layers, scales or Scales(), **options
    )


def test_errors_are_in_micrometres_and_deeper_is_positive():
    found = surfaces(case(block(top=3)), case(block()))
    assert found.spacing_um == (4.0, 10.0)
    assert found.found.rows[:, 0, 0].tolist() == [2.5, 5.5]
    assert found.errors.signed_um.tolist() == [4.0, 0.0]
    assert found.errors.n.tolist() == [5, 5]
    assert found.graders is None


def test_errors_are_of_a_scans_in_which_both_show_the_boundary():
    """Fluid hides the top in one A-scan of the prediction, and in another of the reference."""
    one, two = block(top=4), block()
    one[2:5, 0], two[1:4, 1] = 9, 9
    found = surfaces(case(one), case(two))
    assert np.isfinite(found.found.rows).all()
    assert found.errors.n.tolist() == [3, 5] and found.errors.missing.tolist() == [1, 0]
    assert found.errors.signed_um[0] == 8.0
    assert found.fluid.sum() == 3 and found.fluid.shape == (10, 5, 1)


def test_the_error_between_graders_is_that_of_the_reference(duke, cases):
    """Against the boundaries that the graders drew, in A-scans without fluid."""
    from softlabel.measurements.sources import open_labels
    from softlabel.readers.matlab import open_matlab

    case_id, number = list(cases)[1], volume_of(list(cases)[1])[1]
    source = open_labels(duke)
    found = surfaces(source.read(case_id), source.read(case_id), Layers())
    file = open_matlab(duke / "Subject_01.mat")
    rows = [from_duke_layers(file.read(f"manualLayers{g}")[..., number]) for g in (1, 2)]
    dry = [(file.read(f"manualFluid{g}")[..., number] > 0).sum(axis=0) == 0 for g in (1, 2)]
    off = (rows[1] - rows[0]) * 3.87
    # BM lies below all fluid, so that every A-scan counts
    np.testing.assert_allclose(found.graders.absolute_um[7], np.nanmean(np.abs(off[7])))
    np.testing.assert_allclose(found.graders.signed_um[7], np.nanmean(off[7]))
    assert (found.graders.n >= np.isfinite(off[:, dry[0] & dry[1]]).sum(axis=1)).all()
    assert found.group == "Subject_01"


def test_a_volume_has_its_b_scans_on_the_last_axis():
    volume = np.stack([block(), block(top=4), block(bottom=9)])  # (B-scans, rows, columns)
    one = case(volume, spacing_mm=(0.12, *SPACING), slice_axis=0, image=lambda: volume + 10)
    found = surfaces(one, scales=Scales(axial_axis=1), with_image=True)
    assert found.spacing_um == (4.0, 10.0, 120.0)
    assert found.found.rows[:, 0].T.tolist() == [[1.5, 5.5], [3.5, 5.5], [1.5, 8.5]]
    np.testing.assert_array_equal(found.image[..., 2], volume[2] + 10)


def test_the_distance_is_the_given_one_else_that_of_the_case_else_of_the_reference():
    bare, stating = case(block(), spacing_mm=None), case(block(), spacing_mm=(0.002, 0.02))
    assert surfaces(bare, stating).spacing_um == (2.0, 20.0)
    assert surfaces(case(block()), stating).spacing_um == (4.0, 10.0)
    assert surfaces(stating, scales=Scales((0.003, 0.03))).spacing_um == (3.0, 30.0)
    with pytest.raises(CaseError, match=r"scan.png states no distance.*--spacing-mm 0.00387,0.0"):
        surfaces(bare)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"spacing_mm": (0.9, 0.9)}, r"pixels of 0.9 mm along the A-scans \(axis 0 .*--axial-axis"),
        ({"spacing_mm": (3.87, 11.3)}, "OCT has at most 0.1 mm.*or the right --spacing-mm"),
        ({"spacing_mm": (0.004, 0.01, 0.1)}, "has 2 axes, and the distances of pixels are 3"),
        ({"maps": {"labels": block() + 1}}, "holds the value 3; expected the layers 0 to 2"),
        ({"maps": {"labels": 0 * block()}}, "shows no boundary in any A-scan: its label map hol"),
        ({"maps": {"truth": block()}}, "scan.png has no label map 'labels'; choose one of truth"),
        ({"maps": {"labels": block()[0]}, "spacing_mm": (0.004,)}, "1 spatial axes"),
    ],
)
def test_what_is_no_label_map_of_oct(changes, sentence):
    with pytest.raises(CaseError, match=sentence):
        surfaces(case(block(), **changes))


def test_a_reference_on_another_grid():
    with pytest.raises(CaseError, match=r"\(10, 5\) and its reference other.png \(10, 6\)"):
        surfaces(case(block()), case(block(shape=(10, 6)), "other"))


def test_layers_have_names():
    assert list(Layers().thicknesses) == [
        "retina", "NFL", "GCL-IPL", "INL", "OPL", "ONL-ISM", "ISE", "OS-RPE",
    ]  # fmt: skip
    assert Layers().thicknesses["retina"] == (0, 7) and Layers().thicknesses["INL"] == (2, 3)
    assert len(SURFACES) == 8
    assert Layers(("a", "b", "c")).thicknesses == {
        "retina": (0, 2), "a to b": (0, 1), "b to c": (1, 2),
    }  # fmt: skip
    with pytest.raises(ValueError, match="two different names"):
        Layers(("a", "a"))
    with pytest.raises(ValueError, match="value 2, which is that of a layer"):
        Layers(("a", "b"), fluid=(2,))


def test_the_volume_of_a_case():
    assert volume_of("a_bscan_1_bscan_02") == ("a_bscan_1", 2)
    assert volume_of("a_bscan_") == ("a_bscan_", None)
    assert volume_of("a_bscan_12345678") == ("a_bscan_12345678", None)
