#' Report what is installed, what is missing and what to do
#'
#' Looks for Python and its package pyvae without loading them, and reports where Python would run.
#'
#' @returns A list, invisibly: `python`, `version`, `pyvae` (its version), `torch_in_r` (the version
#'   of the R package torch, or `NULL`), `own_process`, `ready`, and `problem` (`NULL`, or three
#'   texts: what is wrong, what was found, what to do).
#' @seealso [pyvae_available()], [install_pyvae()]
#' @export
#' @examples
#' pyvae_sitrep()
pyvae_sitrep <- function() {
  found <- find_python()
  torch <- if (nzchar(system.file(package = "torch"))) as.character(utils::packageVersion("torch"))
  own <- tryCatch(needs_own_process(), pyvae_error = function(e) NA)
  ready <- is.null(found$problem)
  r <- paste0(R.version$major, ".", R.version$minor)
  cli::cli_h2("pyvae situation report")
  cli::cli_alert_success(paste("R {r}, pyvae {utils::packageVersion('pyvae')},",
                               "reticulate {utils::packageVersion('reticulate')}"))
  if (!is.null(found$version) && numeric_version(found$version) >= python_oldest) {
    cli::cli_alert_success("Python {found$version}: {.file {found$python}}")
  }
  outside <- if (!is.null(found$version)) version_outside_r(found$python)
  if (!is.null(outside) && outside != found$version) {
    cli::cli_alert_warning(paste(
      "Outside of R this is Python {outside}: R's {.envvar LD_LIBRARY_PATH} makes it load another",
      "Python's library, and modules such as ssl may be missing. Set RETICULATE_PYTHON to the",
      "system's Python, or to one with its library linked in."))
  }
  if (ready) {
    cli::cli_alert_success("Python package pyvae {found$pyvae}")
  } else {
    problem <- found$problem
    cli::cli_alert_danger("{problem[[1L]]}")
    cli::cli_bullets(c("x" = "{problem[[2L]]}", "i" = "{problem[[3L]]}"))
  }
  if (is.null(torch)) {
    cli::cli_alert_info(paste("The R package torch is not installed: {.fn compare_with_r} compares",
                              "with base R"))
  } else {
    cli::cli_alert_info(paste("The R package torch {torch} is",
                              "{if (isNamespaceLoaded('torch')) 'loaded' else 'installed'}"))
  }
  where <- if (isTRUE(own)) "a separate process" else "this session"
  cli::cli_alert_info("Python runs in {where}")
  if (is.na(own)) {
    cli::cli_alert_danger(paste("{.code options(pyvae.own_process = FALSE)} does not work while",
                                "torch is loaded: set it to {.code NULL}"))
  }
  if (ready) cli::cli_alert_info("Ready: try {.run vae_fit(\"digits\", epochs = 2)}")
  invisible(list(python = found$python, version = found$version, pyvae = found$pyvae,
                 torch_in_r = torch, own_process = own, ready = ready, problem = found$problem))
}

# The version of a Python without the library paths that R's start adds.
version_outside_r <- function(python) {
  code <- "import sys; print('.'.join(map(str, sys.version_info[:3])))"
  run <- tryCatch(
    processx::run(python, c("-c", code), error_on_status = FALSE, timeout = 60,
                  env = c("current", user_library_paths())),
    error = function(e) NULL)
  version <- trimws(run$stdout %||% "")
  if (grepl("^[0-9.]+$", version)) version
}

#' Check whether Python and pyvae can be used
#'
#' Does not load Python.
#'
#' @returns `TRUE` if the functions that need Python can run, else `FALSE`; [pyvae_sitrep()] says
#'   why.
#' @export
#' @examples
#' pyvae_available()
pyvae_available <- function() is.null(find_python()$problem)
