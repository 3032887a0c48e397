# The R package's vignettes, computed and kept with their results and figures: make vignettes.
#
# vignettes/NAME.Rmd.orig is run here, and becomes vignettes/NAME.Rmd, which holds what was printed and
# needs no Python; of that inst/doc/NAME.html is made, which R CMD INSTALL takes as it is.

setwd("r_bridge/rpackage/vignettes")
names <- sub("\\.Rmd\\.orig$", "", list.files(pattern = "\\.Rmd\\.orig$"))
asked <- commandArgs(TRUE)
unknown <- setdiff(asked, names)
if (length(unknown)) {
  stop("there is no vignette ", unknown[[1L]], "; there are ", paste(names, collapse = ", "), call. = FALSE)
}
dir.create(file.path("..", "inst", "doc"), showWarnings = FALSE, recursive = TRUE)
for (name in if (length(asked)) asked else names) {
  page <- paste0(name, ".Rmd")
  unlink(list.files(pattern = paste0("^", name, "-.*\\.png$")))
  # each in a process of its own, as a reader would
  callr::r(function(page) knitr::knit(paste0(page, ".orig"), page, quiet = TRUE), list(page), show = TRUE)
  rmarkdown::render(page, output_dir = file.path("..", "inst", "doc"), quiet = TRUE, envir = new.env())
  cat("written: r_bridge/rpackage/vignettes/", page, " and inst/doc/", name, ".html\n", sep = "")
}
