"""Features of image sets: computed once, cached by content."""
