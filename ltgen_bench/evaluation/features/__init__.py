"""Features of image sets: made once, kept under a digest of their content."""
