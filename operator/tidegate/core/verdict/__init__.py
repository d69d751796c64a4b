"""The statistics: from counts of requests to a verdict that holds however often one looks."""
