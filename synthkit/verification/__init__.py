"""Checks a release: every byte, and everything that can be derived again.

`verify` reads a release once and asks the other modules:

- `manifest` compares the manifest with itself and the recipe, `shard` checks the bytes of a tar.
- `record_rules`, with `derived_plan`, `mixing` and `gate_rules`, checks what records say; `table_rows`
  compares the Parquet file with the shards.
- `checks`, with `derived_files`, `pictures` and `audit`, derives again the files that follow from the rest.
- `collected` keeps what is compared across shards, `faults` what was found wrong.

`replayed_record` compares a record with one made again, for `synthkit replay`.
"""
