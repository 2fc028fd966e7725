"""The versions of releases: params.yaml, git and the changelog."""
