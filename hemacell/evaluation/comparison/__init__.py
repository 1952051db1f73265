"""A grid of runs -> one honest comparison: scores with intervals, paired differences, figures and a report.

    records.py           what goes in (`RunRecord`) and what comes out (`Comparison`)
    resampling.py        the same images for all runs; the same resampled images and draws for all arms
    hypothesis_tests.py  permutation, McNemar, Holm; the t interval
    grid.py              which runs belong together: arm x amount, paired by draw
    efficiency.py        how many labels a gain is worth
    compare.py           puts them together: runs -> `Comparison`
    cautions.py          what a reader must beware of
    sections.py          `Comparison` -> the report's words, tables and pictures
    report.py            these -> report.html, report.md, results.csv

Knows no MLflow and no torch; nothing that trains a classifier imports it.
"""
