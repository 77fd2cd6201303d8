"""The whole engine on a simulated clock, disk and bucket: every lifetime follows from its seed alone."""
