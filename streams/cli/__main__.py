"""`python -m streams.cli` is `headwater`: how the supervisor starts its roles, whatever is on the PATH."""

from streams.cli import main

main()
