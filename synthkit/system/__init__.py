"""Files, locks, stopping, progress and the environment: what deals with the operating system."""
