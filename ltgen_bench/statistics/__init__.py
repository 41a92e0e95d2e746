"""Statistics of recorded scores: what the seeds of one task show, and what several tasks show. Imports no torch."""
