"""Checks beyond single cases: their adequacy, fresh processes, and misfits of kernels."""
