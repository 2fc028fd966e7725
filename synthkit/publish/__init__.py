"""Signs releases (`sign`), sends them to the Hub (`publish`, `outgoing`), brings them from it (`pull`)."""
