"""Pages to look at: one HTML file each, which needs no network, no server and nothing beside it.

`release.py` makes the page of a release: `choice` picks the images that are shown, `pictures` makes them
small, `shown` tells the history of each, `numbers` counts all of them, `audited` has what an audit found, and
`rendering` fills the templates. `templates/base.html.jinja`, `page.css` and `page.js` are what every kind of
page shares.
"""
