"""Archives: many long recordings, embedded once in windows, and where in them somebody speaks."""
