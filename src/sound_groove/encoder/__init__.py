"""Recordings in, embeddings out: the encoder, what runs its network, and embedding in bulk. No torch is needed."""
