"""The Hugging Face Hub: its repositories, and its client with its cache, its environment and its errors."""
