"""``softlabel-train train-oct``."""

from __future__ import annotations

from softlabel_train.cli.demonstration import make_command
from softlabel_train.demo import OCT

train_oct = make_command(OCT)
