"""The built-in layers, each a plugin like a stranger's."""
