"""Reading recordings, and what is in them: formats, channels, speech, pauses, level, quality. numpy only."""
