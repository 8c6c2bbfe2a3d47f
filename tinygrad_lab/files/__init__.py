"""Files that any process may write, damage or hold: atomic writing, bounded parsing, and locks on folders."""
