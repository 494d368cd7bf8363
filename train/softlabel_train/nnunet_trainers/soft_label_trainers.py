"""Where nnU-Net finds the trainers by their names."""

from softlabel_train.nnunet.trainer import nnUNetTrainerSoftLabel, nnUNetTrainerSoftLabelWCE

__all__ = ["nnUNetTrainerSoftLabel", "nnUNetTrainerSoftLabelWCE"]
