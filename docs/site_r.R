# The R package's reference as a site, in build/site/r: make site-r.

if (!requireNamespace("pkgdown", quietly = TRUE)) {
  stop("R lacks pkgdown; install it: apt-get install r-cran-pkgdown, or install.packages(\"pkgdown\")",
       call. = FALSE)
}
# What is not installed, such as torch, downlit looks up on CRAN, to link to it.
options(pkgdown.internet = FALSE, warn = 1)
package <- pkgdown::as_pkgdown("r_bridge/rpackage",
                               override = list(destination = file.path(getwd(), "build", "site", "r")))
pkgdown::check_pkgdown(package)
pkgdown::init_site(package)
pkgdown::build_home(package, preview = FALSE)
pkgdown::build_reference(package, examples = FALSE, lazy = FALSE, preview = FALSE)
pkgdown::build_news(package, preview = FALSE)
