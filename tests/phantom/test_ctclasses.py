"""The table of the CT phantom's classes."""

from softlabel.phantom.ctclasses import CT_CLASSES, CT_HU, VERTEBRAE


def test_there_are_104_classes_and_the_background():
    assert list(CT_CLASSES.values()) == list(range(105))
    assert set(CT_HU) == set(CT_CLASSES) - {"background"}


def test_values_are_those_that_users_of_totalsegmentator_expect():
    # A few of its first version, whose names are spelt a little differently.
    known = {"spleen": 1, "liver": 5, "aorta": 7, "vertebra_L5": 18, "vertebra_T12": 23,
             "vertebra_C1": 41, "oesophagus": 42, "pulmonary_artery": 49, "colon": 57,
             "rib_left_1": 58, "rib_right_12": 81, "humerus_left": 82, "sacrum": 92,
             "iliopsoas_right": 103, "urinary_bladder": 104}  # fmt: skip
    assert {name: CT_CLASSES[name] for name in known} == known


def test_structures_that_come_in_numbers_are_complete():
    assert len(VERTEBRAE) == 24
    assert all(f"vertebra_{name}" in CT_CLASSES for name in VERTEBRAE)
    for side in ("left", "right"):
        assert all(f"rib_{side}_{n}" in CT_CLASSES for n in range(1, 13))
    left = {name for name in CT_CLASSES if "left" in name}
    right = {name for name in CT_CLASSES if "right" in name}
    lobes = {name for name in left | right if name.startswith("lung_")}
    assert {name.replace("left", "right") for name in left - lobes} == right - lobes
    assert len(lobes) == 5


def test_hounsfield_units_are_those_of_the_tissues():
    assert -900 < CT_HU["lung_upper_lobe_left"] < CT_HU["lung_lower_lobe_left"] < -700
    assert CT_HU["trachea"] < -950
    assert 40 <= CT_HU["iliopsoas_left"] <= 60 and CT_HU["liver"] == 60
    assert CT_HU["aorta"] == CT_HU["heart_ventricle_left"] == 150
    assert 0 <= CT_HU["urinary_bladder"] <= CT_HU["gallbladder"] <= 20
