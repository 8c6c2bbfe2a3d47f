"""Kinds of plugins: for each kind its trials, its properties and its check; `table` lists all kinds."""
