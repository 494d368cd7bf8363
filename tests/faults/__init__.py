"""What breaks on purpose, in amounts that the usual tests have no time for."""
