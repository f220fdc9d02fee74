"""The networks, each family in a file of its own."""
