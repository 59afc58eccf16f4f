"""How answers to targets are judged: weights of rows, scores with intervals, baselines. Knows no inputs and no table.

Each file is a base class of which `mmcli.tasks.Task`, the contract of tasks, is made.
"""
