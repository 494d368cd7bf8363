"""nnU-Net v2 trained with soft labels that are made on the device, after its augmentation.

:mod:`~softlabel_train.nnunet.superpixels` puts superpixel ids beside the segmentations that
nnU-Net loads, :mod:`~softlabel_train.nnunet.transforms` takes them through its augmentation,
:mod:`~softlabel_train.nnunet.loss` adds KL to its loss, and
:mod:`~softlabel_train.nnunet.trainer` puts these together. All of it needs ``nnunetv2``.
"""
