"""The Hugging Face Hub: repositories, its client, its cache, and patience with it."""
