"""Recordings that need FFmpeg's decoders (the `media` extra): what they are, and whether they are whole."""
