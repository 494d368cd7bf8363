"""What `make bench` runs; each module prints a table with the peer in the same run."""
