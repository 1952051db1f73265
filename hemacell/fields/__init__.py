"""Whole fields of a blood smear: where the white cells are, and how well they were found."""
