"""Reports: explanations of failures, and results as a card in the terminal and as an HTML page."""
