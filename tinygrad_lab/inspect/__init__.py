"""Looking into networks: their layers in a table."""
