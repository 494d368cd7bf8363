"""Faults on purpose: kills, full disks, flipped bits, runs that meet. Nothing may be lost or wrong.

Each module breaks caches in one way and counts what became of it. ``make faults`` runs the long
form and writes its figures into ``benchmarks/RESULTS.md``; ``test_faults.py`` is the short one.

``inputs.py`` stands by itself: files of every kind that are damaged, or of somebody who means harm.
"""
