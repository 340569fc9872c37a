"""The tiny models of the tasks, by the kind of what they take."""
