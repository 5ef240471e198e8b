"""Speaker models of others made ours: what a file is, what it is to be fed, and one file with its front end inside."""
