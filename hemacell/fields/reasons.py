"""What is said of things in a field that are no usual white cells; read without importing an image library."""

TOUCHES = "touches another cell"
CUT_OFF = "cut off at the border"
SMUDGE = "smudge cell"
PLATELET = "platelet"
DIRT = "stain dirt"
REASONS = (TOUCHES, CUT_OFF, SMUDGE, PLATELET, DIRT)
NO_WHITE_CELL = (PLATELET, DIRT)
"""Reasons of what is found and is no white cell."""
