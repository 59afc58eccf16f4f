"""What people read: metrics with intervals, console tables, plots, the HTML report. Knows nothing of stages."""
