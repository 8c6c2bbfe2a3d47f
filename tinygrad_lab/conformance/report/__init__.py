"""Reports: explanations of failures, and the card and the page of results."""
