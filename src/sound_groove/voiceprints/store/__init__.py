"""Stores of voiceprints: one interface, several databases."""
