"""Phantoms: synthetic OCT and MRI data sets whose true labels are known.

They stand in for data that may not be passed on, and they answer what real data cannot: how far a
label is from the truth. Everything follows from one seed, and subject k is the same whatever the
number of subjects.

* :func:`make_oct_subject` and :func:`make_brain` draw a subject: images, images without noise,
  true labels.
* :class:`Grader` describes an imprecise annotator; :func:`annotate_oct` and
  :func:`annotate_brain` draw what one makes of a subject.
* :func:`write_oct_dataset` and :func:`write_mri_dataset` write whole data sets in the layouts of
  Duke OCT-DME and MRBrainS18.
"""

from softlabel.phantom.graders import Grader
from softlabel.phantom.mri import Brain, annotate_brain, make_brain
from softlabel.phantom.oct import OctAnnotation, OctSubject, annotate_oct, make_oct_subject
from softlabel.phantom.write import write_mri_dataset, write_oct_dataset

__all__ = [
    "Brain",
    "Grader",
    "OctAnnotation",
    "OctSubject",
    "annotate_brain",
    "annotate_oct",
    "make_brain",
    "make_oct_subject",
    "write_mri_dataset",
    "write_oct_dataset",
]
