"""Files that several processes share: atomic writing, bounded parsing, and locks on folders."""
