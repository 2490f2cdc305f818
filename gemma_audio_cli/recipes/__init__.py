"""Recipes: questions with the shape of their answer, as TOML files. The package's lie here."""
