"""Checks beyond single cases: adequacy of the cases, fresh processes, and calls of kernels with unfit arguments."""
