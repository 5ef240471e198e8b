"""What a network is given in training: which utterances, which crops of them, and what is done to the crops."""
