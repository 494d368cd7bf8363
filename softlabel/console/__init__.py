"""What both command lines share: groups of commands, exit statuses, progress."""
