"""Training scripts of the models that the package embeds."""
