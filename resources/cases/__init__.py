"""One form for every kind of data: fully, weakly or only by a report annotated scans."""
