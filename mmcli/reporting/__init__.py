"""What people read: metrics with intervals, console, plots, the HTML report. Knows nothing of stages."""
