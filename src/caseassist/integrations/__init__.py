"""A bot in the framework that you already use: one module for each, which needs the extra of its name."""
