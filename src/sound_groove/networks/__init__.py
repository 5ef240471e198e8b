"""What is trained: features, architectures, losses and checkpoints. torch, but for `probe` and `trained_speakers`."""
