"""What others offer to the same end: a module for each, which is imported only where it is installed."""
