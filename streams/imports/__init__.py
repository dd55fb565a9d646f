"""Import: public data sets and any table -> `items.jsonl` and `events.jsonl` in our own schemas.

sources (file, folder, zip; gz inside) -> lines (text with line numbers) -> delimited | JSON -> one module a layout
(movielens, amazon, csv) -> write (checked, in order of time). Faults are told by file and line on the way.
"""
