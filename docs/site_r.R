# The R package's reference as a site, in build/site/r: make site-r.

if (!requireNamespace("pkgdown", quietly = TRUE)) {
  stop("R lacks pkgdown; install it: apt-get install r-cran-pkgdown, or install.packages(\"pkgdown\")",
       call. = FALSE)
}
options(pkgdown.internet = FALSE, warn = 1)
# Examples name packages that need not be installed, such as torch; to link to them downlit would ask
# CRAN, and stop where there is no network. Here it has no links to these.
nowhere <- function() data.frame(Package = character(), URL = character())
utils::assignInNamespace("CRAN_urls", nowhere, "downlit")
package <- pkgdown::as_pkgdown("r_bridge/rpackage",
                               override = list(destination = file.path(getwd(), "build", "site", "r")))
pkgdown::check_pkgdown(package)
pkgdown::init_site(package)
pkgdown::build_home(package, preview = FALSE)
pkgdown::build_reference(package, examples = FALSE, lazy = FALSE, preview = FALSE)
pkgdown::build_articles(package, lazy = FALSE, preview = FALSE)
pkgdown::build_news(package, preview = FALSE)
