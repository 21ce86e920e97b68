"""Commands for submissions and the leaderboard."""
