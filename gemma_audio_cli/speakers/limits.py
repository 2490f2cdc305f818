"""What is looked for, known without loading anything."""

MOST_SPEAKERS = 20
"""More are not looked for unless asked for."""
