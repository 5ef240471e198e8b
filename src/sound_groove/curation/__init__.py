"""A corpus looked over: wrong labels and bad recordings, and how sure that is."""
