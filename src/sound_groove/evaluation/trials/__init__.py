"""Trials: the lists, and the recordings, people and places behind their names."""
