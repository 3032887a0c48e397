#' Install the Python package pyvae
#'
#' Where reticulate has `py_require()` (1.41 and newer), pyvae is declared as a requirement of this
#' session, and reticulate gets it when Python is first used; otherwise it is installed into a
#' virtual environment, with the rpy2 that fits this R. PyTorch is large: minutes.
#'
#' @param source What pip is to install: the folder of the project, a wheel, or a requirement. By
#'   default `options("pyvae.source")`, else `"pyvae"`, which has to be in the index that pip uses.
#' @param method `"auto"`: `py_require()` where there is one; or `"py_require"`, `"virtualenv"`.
#' @param envname The virtual environment; [vae_fit()] finds `"r-pyvae"` without being told.
#' @param python The Python that a virtual environment is made with, 3.11 or newer; by default what
#'   reticulate takes.
#' @returns What was done, invisibly: a list with `method`, `requirements` and `envname`.
#' @export
#' @examples
#' \dontrun{
#' install_pyvae("path/to/the/project")
#' }
install_pyvae <- function(source = getOption("pyvae.source", "pyvae"),
                          method = c("auto", "py_require", "virtualenv"), envname = "r-pyvae",
                          python = NULL) {
  here <- environment()
  plan <- install_plan(source, match.arg(method), envname, here)
  if (plan$method == "py_require") {
    getExportedValue("reticulate", "py_require")(plan$requirements, python_version = ">=3.11")
    cli::cli_alert_success("Required for this session: {.val {plan$requirements}}")
    return(invisible(plan))
  }
  if (!is.null(python)) {
    version <- ask_python(python)$version
    if (is.null(version)) {
      abort(c("{.arg python} must be a Python that runs.", "x" = "{.file {python}} does not."),
            here)
    }
    if (numeric_version(version) < python_oldest) {
      abort(c("pyvae needs Python {python_oldest} or newer.",
              "x" = "{.file {python}} is Python {version}."), here)
    }
  }
  tryCatch({
    if (!reticulate::virtualenv_exists(envname)) {
      reticulate::virtualenv_create(envname, python = python)
    }
    reticulate::virtualenv_install(envname, plan$requirements, ignore_installed = FALSE)
  }, error = function(e) {
    why <- first_line(conditionMessage(e))
    abort(c("pyvae could not be installed into {.val {envname}}.", "x" = "{why}",
            "i" = "{.arg source} is what pip was to install: {.val {source}}."), here)
  })
  cli::cli_alert_success("Installed into {.val {envname}}. See {.fn pyvae_sitrep}.")
  invisible(plan)
}

install_plan <- function(source, method, envname, call) {
  if (!is.character(source) || length(source) != 1L || is.na(source) || !nzchar(source)) {
    abort(c("{.arg source} must be a folder, a wheel or a requirement.",
            "x" = "It is {in_words(source)}."), call)
  }
  newer <- "py_require" %in% getNamespaceExports("reticulate")
  if (method == "auto") method <- if (newer) "py_require" else "virtualenv"
  if (method == "py_require" && !newer) {
    version <- as.character(utils::packageVersion("reticulate"))
    abort(c("This reticulate has no {.fn py_require}.", "x" = "It is {version}.",
            "i" = "Use {.code method = \"virtualenv\"}, or update reticulate to 1.41 or newer."),
          call)
  }
  path <- path.expand(source)
  local <- file.exists(path)
  if (!local && grepl("[/\\\\]", source) && !grepl("://|@", source)) {
    abort(c("{.arg source} does not exist.", "x" = "There is no {.file {source}}."), call)
  }
  if (local && dir.exists(path) && !file.exists(file.path(path, "pyproject.toml"))) {
    abort(c("{.arg source} must be the folder of the project.",
            "x" = "{.file {source}} has no {.file pyproject.toml}."), call)
  }
  requirement <- if (!local) source else if (method == "virtualenv") normalizePath(path)
    else paste0("pyvae @ file://", normalizePath(path))
  list(method = method, requirements = c(requirement, rpy2_requirements()), envname = envname)
}

# The rpy2 that fits this R, as r_bridge/rpy2_fit.py has it (a test holds the two together).
rpy2_requirements <- function(r = getRversion()) {
  if (r >= "4.5") c("rpy2==3.6.9", "rpy2-rinterface==3.6.7", "rpy2-robjects==3.6.6")
    else c("rpy2==3.6.6", "rpy2-rinterface==3.6.5", "rpy2-robjects==3.6.6")
}
