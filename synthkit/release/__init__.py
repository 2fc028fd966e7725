"""The release format: the files of a release folder, written and read.

- `files.py` lists the files; each has a module: `manifest` (its parts in `facts`), `recipe_file`, `card`,
  `croissant`, `samples`, `audit`, and `record_table` for the tables below `provenance/`.
- Shards: `shards` writes them, `shard_reader` reads them, of any container in `containers/`. These use
  `tar_members`, `parquet_pages` and `bounded_parquet`; `records` defines the records in them. `image` finds
  one image of a release by its key.
- An image file is written by `image_writer`, with the mark that `marks` derives from its record, and its
  header is read by `image_header`; `image_remark` puts another mark into one. If images are signed
  (C2PA), `content_credentials` derives the manifest of one, `embedded_manifest` puts it into the file,
  and `image_signer` tells whose signature it is.
- `scores` names the numbers that quality gates judge by, and `filter_counts` counts what they rejected.
- `plan` and `seeds` draw what a release will hold; `blocks` numbers its images and shards. A build needs
  them, and verification draws the same again.
- `likeness`, with `perceptual_hash`, measures how alike two images are.
- `folder` replaces a release folder in one step; `diff` compares two releases.
- `places`, `remembered_places` and `real_images` find the real images and the model that a release was made
  from; `loader_images` and `loader_streams` feed a release to a training loop.
"""
