"""The report of an evaluation: a page, its pictures, and how figures are written."""
