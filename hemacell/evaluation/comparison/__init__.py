"""A grid of runs -> one honest comparison: scores with intervals, and paired differences.

    logged.py            runs as they were logged -> `RunRecord`
    records.py           what goes in (`RunRecord`) and what comes out (`Comparison`)
    grid.py              which runs belong together: arm x amount, paired by draw
    folds.py             runs of cross-validation, pooled: each image is tested once
    resampling.py        the same images for all runs; the same resampled images and draws for all arms
    hypothesis_tests.py  permutation, McNemar, Holm; the t interval
    label_efficiency.py  how many times the labels the baseline needs to reach a score
    compare.py           puts them together: runs -> `Comparison`
    checks.py            what a reader should know before trusting it
    words.py, table.py   what it says, in words and as a table

Knows no MLflow and no torch; nothing that trains a classifier imports it.
"""
