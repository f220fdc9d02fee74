"""What a person is shown: a search, a priority table, a search space, an expansion."""
