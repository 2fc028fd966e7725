"""Trains, exports and measures the miniature Stable unCLIP pipeline on scikit-learn's digits."""
