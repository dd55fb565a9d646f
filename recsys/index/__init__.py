"""Indexes over the catalogue's rows: dense (vectors) and lexical (words). Immutable, a frozen main part and a tail."""
