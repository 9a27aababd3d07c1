"""Cards and comparisons put together: as data for pages and commands, and as Markdown for docs and README."""
