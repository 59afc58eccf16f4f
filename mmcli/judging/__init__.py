"""How answers to targets are judged: weights of rows, scores with intervals, baselines. Knows no inputs and no table.

`weights`, `scores` and `baselines` are base classes of which `mmcli.tasks.Task`, the contract of tasks, is made; `classes` and
`numbers` are those of tasks that answer with one class of several, or with numbers; `quantiles` is what quantiles are.
"""
