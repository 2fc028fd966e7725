"""Look at releases and machines: show, replay, audit, doctor."""
