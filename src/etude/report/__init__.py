"""The pages that gather what methods drew: the list, the demo page, the table of claims."""
