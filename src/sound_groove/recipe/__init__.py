"""What is asked for: the schema of a training recipe, and how a recipe is read."""
