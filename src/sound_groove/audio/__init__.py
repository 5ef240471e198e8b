"""Recordings: read whatever their format, and what is in them: channels, speech, pauses, level, quality."""
