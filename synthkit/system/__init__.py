"""Files, locks, stopping, progress: what the operating system gives."""
