"""Files from the network: resumed, retried, checked, and never in part under their final names."""
