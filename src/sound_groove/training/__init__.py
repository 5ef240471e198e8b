"""Training a network: the loop, what is checked before it, and what it leaves."""
