"""What a report shows: what there is in some folders, put together as data, and as one page."""
