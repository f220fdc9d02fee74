"""An experiment's journal, told to a person: summary and plot."""
