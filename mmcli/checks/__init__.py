"""What every part of a room must do, as checks that users and the contract tests share. Knows no artifacts."""
