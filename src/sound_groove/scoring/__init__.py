"""Numbers: from two embeddings to a score, a log-likelihood ratio and a verdict; and what scores are worth."""
