"""The file that leaves: a trained network in a format for other programs."""
