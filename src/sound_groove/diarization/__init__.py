"""Long recordings: who spoke when, in parts that can be exchanged, and who of them is enrolled."""
