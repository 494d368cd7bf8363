"""``python -m softlabel_train``: the same as the command."""

from softlabel_train.cli import main

if __name__ == "__main__":
    main()
