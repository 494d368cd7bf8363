"""The folder for ``nnUNet_extTrainer``; ``softlabel nnunet path`` prints it.

nnU-Net imports the modules of such a folder by their bare names and forgets them again, so that
what they define could not be pickled. They only name what :mod:`softlabel_train.nnunet` defines.
"""
