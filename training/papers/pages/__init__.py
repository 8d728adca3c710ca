"""Parts of the page of the papers: wording, tables, verdicts and times."""
