"""Trains miniature Stable unCLIP pipelines: the stages that the embedded models share."""
