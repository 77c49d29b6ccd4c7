"""The chaos suite: gateways as processes, a container with a record of the truth, clients, faults, and a checker.

    make chaos                                  every row of the fault matrix once
    make chaos MINUTES=30                       rows at random for that long
    python -m tests.chaos --row 4 --seed 123    one again, as a failure was printed

A row is a function in one of the ``rows_*`` modules; see ``scenario`` for what it is given.
"""
