"""Live: whether a voice is one of those named, told as soon as the evidence allows it."""
