"""Judging a model on trials."""
