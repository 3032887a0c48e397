"""The results of a comparison of two recorded programs: lines, tables, a figure and a page."""
