"""``softlabel-train train-mri``."""

from __future__ import annotations

from softlabel_train.cli.demonstration import make_command
from softlabel_train.demo import MRI

train_mri = make_command(MRI)
