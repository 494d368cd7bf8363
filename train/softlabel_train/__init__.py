"""Train a segmentation network on a softlabel cache, and score it."""
