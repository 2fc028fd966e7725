"""Trains, exports and measures the miniature Stable unCLIP pipeline on pictures of rendered glyphs."""
