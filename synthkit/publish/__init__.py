"""Sends releases to the Hub (`publish`, with `outgoing`) and brings them from there (`pull`)."""
