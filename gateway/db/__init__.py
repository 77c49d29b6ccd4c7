"""PostgreSQL: the only room that knows the driver. Everyone else names a query and gets rows.

pool.py          Database: named queries and transactions in tasks of their own
queries.sql/.py  the statements, each under a name and a sentence
due.py           the loop for work that outlives a process; every.py, retry.py: doing work again
errors.py        what a statement can fail with
connections.py   a bounded set of connections; addresses.py: which ones to try; aiopg_fixes.py: aiopg, mended
parameters.py    what libpq is told; session.py: the settings that statements run under, also through a pooler
troubles.py      why a database that answers refuses to work; waits.py: what statements that do not end wait for
migrate.py       migrations/ through yoyo, one process at a time
embedded.py      a PostgreSQL of our own for `acp-gateway up`; cluster.py, leftovers.py and launcher.py are its parts
"""
