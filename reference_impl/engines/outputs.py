"""The kinds of outputs that only the book's site reads, beside those that every notebook shows: written by the package, read by the site."""

PRIVATE = "application/vnd.descent."
FIGURE = f"{PRIVATE}figure+json"
DERIVATION = f"{PRIVATE}derivation+json"
