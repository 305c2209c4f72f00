"""What people look at: the review page of a scan, the overview of a cohort, the comparison of two scans."""
