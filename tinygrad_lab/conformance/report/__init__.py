"""Reports: a failure explained, and the card and the page of a layer."""
