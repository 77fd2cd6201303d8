"""The GPU, asked and put to work in child processes only: a driver call may hang or kill whoever makes it."""
