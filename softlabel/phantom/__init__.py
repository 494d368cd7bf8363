"""Phantoms: synthetic OCT, MRI and CT data sets whose true labels are known.

They stand in for data that may not be passed on, and they answer what real data cannot: how far a
label is from the truth. Everything follows from one seed, and subject k is the same whatever the
number of subjects.

* :func:`make_oct_subject`, :func:`make_brain` and :func:`make_ct` draw a subject: images, images
  without noise, true labels.
* :class:`Visibility` has factors for its noise and contrast (OCT and MRI).
* :class:`Grader` describes an imprecise annotator; :func:`annotate_oct`, :func:`annotate_brain` and
  :func:`annotate_ct` draw what one makes of a subject.
* :func:`write_oct_dataset`, :func:`write_mri_dataset` and :func:`write_ct_dataset` write whole data
  sets in the layouts of Duke OCT-DME, MRBrainS18 and nnU-Net.
"""

from softlabel.phantom.ct import CtScan, annotate_ct, make_ct
from softlabel.phantom.ctclasses import CT_CLASSES, CT_HU
from softlabel.phantom.graders import Grader
from softlabel.phantom.mri import Brain, annotate_brain, make_brain
from softlabel.phantom.oct import OctAnnotation, OctSubject, annotate_oct, make_oct_subject
from softlabel.phantom.visibility import Visibility
from softlabel.phantom.write import write_ct_dataset, write_mri_dataset, write_oct_dataset

__all__ = [
    "CT_CLASSES",
    "CT_HU",
    "Brain",
    "CtScan",
    "Grader",
    "OctAnnotation",
    "OctSubject",
    "Visibility",
    "annotate_brain",
    "annotate_ct",
    "annotate_oct",
    "make_brain",
    "make_ct",
    "make_oct_subject",
    "write_ct_dataset",
    "write_mri_dataset",
    "write_oct_dataset",
]
