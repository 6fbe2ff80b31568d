"""Where backlogs come from. The only importers of temporalio."""
