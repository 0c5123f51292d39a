"""Queries, a file per table: functions that take the connection first and never commit.

Rows come without the ORM's bookkeeping, which would double the cost of a read: immutable tuples whose attributes
are the columns of the table.
"""
