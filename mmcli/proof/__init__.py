"""What evaluating shows: baselines, analysis, trust, examples, the verdict, the report. Knows no training."""
