"""``python -m softlabel``: the same as the command."""

from softlabel.cli import main

if __name__ == "__main__":
    main()
