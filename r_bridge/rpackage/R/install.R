#' Install the Python package pyvae
#'
#' With reticulate 1.41 or newer, declares pyvae as a requirement of this session (`py_require()`),
#' which reticulate installs when Python is first used. Otherwise installs it into a virtual
#' environment. Also installs the rpy2 that fits this R. PyTorch is large: this takes minutes.
#'
#' pip knows it as port-parity; `import pyvae` is what Python calls it. It is not on PyPI: the package
#' pyvae there belongs to another project.
#'
#' A session uses the Python that `RETICULATE_PYTHON` or [reticulate::use_virtualenv()] names, such as
#' the `.venv` that `make setup` leaves, before anything that is installed here. [pyvae_sitrep()] says
#' which one it is.
#'
#' @param source What pip installs: the project's folder (the one with `pyproject.toml`), a wheel,
#'   or a URL such as `"git+https://..."`. By default `options("pyvae.source")`, else the project's
#'   folder that this R package was installed from, if it still exists.
#' @param method `"py_require"`, `"virtualenv"`, or `"auto"`: `py_require()` if reticulate has it.
#' @param envname The virtual environment; [vae_fit()] finds `"r-pyvae"` by itself.
#' @param python The Python to make the virtual environment with, 3.11 or newer; by default
#'   reticulate's choice.
#' @returns A list with `method`, `requirements` and `envname`, invisibly.
#' @export
#' @examples
#' \dontrun{
#' install_pyvae("path/to/the/project")
#' }
install_pyvae <- function(source = getOption("pyvae.source"),
                          method = c("auto", "py_require", "virtualenv"), envname = "r-pyvae",
                          python = NULL) {
  here <- environment()
  method <- check_choice(method, "method", c("auto", "py_require", "virtualenv"), several = TRUE)
  plan <- install_plan(source %||% source_folder(), method, envname, here)
  if (plan$method == "py_require") {
    getExportedValue("reticulate", "py_require")(plan$requirements, python_version = ">=3.11")
    cli::cli_alert_success("Required for this session: {.val {plan$requirements}}")
    return(invisible(plan))
  }
  if (!is.null(python)) {
    version <- ask_python(python)$version
    if (is.null(version)) {
      abort(c("{.arg python} must be a Python that runs.",
              "x" = "{.file {python}} does not run."), here)
    }
    if (numeric_version(version) < python_oldest) {
      abort(c("pyvae needs Python {python_oldest} or newer.",
              "x" = "{.file {python}} is Python {version}."), here)
    }
  }
  folder <- if (grepl("[/\\\\]", envname)) path.expand(envname)
    else path.expand(file.path(reticulate::virtualenv_root(), envname))  # "~/.virtualenvs"
  is_new <- !file.exists(folder)
  done <- FALSE
  # an environment without pyvae would be taken before any other from now on
  on.exit(if (is_new && !done) unlink(folder, recursive = TRUE, expand = FALSE))
  tryCatch({
    without_poetry_warning(with_user_library_paths({
      if (!reticulate::virtualenv_exists(envname)) {
        reticulate::virtualenv_create(envname, python = python)
      }
      reticulate::virtualenv_install(envname, plan$requirements, ignore_installed = FALSE)
    }))
    done <- TRUE
  }, error = function(e) {
    why <- first_line(conditionMessage(e))
    wanted <- plan$requirements[[1L]]
    abort(c("pyvae could not be installed into {.val {envname}}.", "x" = "{why}",
            "i" = "See what pip printed above. Check that pip can install {.val {wanted}}."), here)
  })
  cli::cli_alert_success("Installed into {.val {envname}}. See {.fn pyvae_sitrep}.")
  invisible(plan)
}

is_project <- function(folder) {
  file.exists(file.path(folder, "pyproject.toml")) &&
    file.exists(file.path(folder, "r_bridge", "rpackage", "DESCRIPTION"))
}

# The project's folder, or NULL, where R CMD INSTALL was given the folder of the package in it: this
# runs then, and there.
installed_from <- if (is_project(dirname(dirname(getwd())))) dirname(dirname(getwd()))

source_folder <- function() {
  if (!is.null(installed_from) && is_project(installed_from)) installed_from
}

# What to run to install pyvae, to follow "to update it," and the like.
how_to_install <- function() {
  known <- !is.null(getOption("pyvae.source")) || !is.null(source_folder())
  if (known) return("run `install_pyvae()`")
  "run `install_pyvae(\"FOLDER\")` with the project's folder or URL"
}

python_package <- "port-parity"                                    # as pip knows it
name_before_url <- paste0("^((", python_package, "|pyvae) *@ *)?")           # before a URL

install_plan <- function(source, method, envname, call) {
  if (is.null(source)) {
    abort(c("{.arg source} is missing.",
            "x" = paste("This project is not on PyPI: the package pyvae there belongs to another",
                        "project."),
            "i" = paste("Get the project's folder and run",
                        "{.code install_pyvae(\"path/to/the/folder\")}, or give a wheel or a",
                        "URL.")), call)
  }
  if (!is.character(source) || length(source) != 1L || is.na(source) || !nzchar(source)) {
    abort(c("{.arg source} must be a folder, a wheel or a URL.",
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
  address <- grepl(paste0(name_before_url, "[a-z+]+://"), source)
  if (!local && !address) {
    theirs <- grepl("^pyvae *([^A-Za-z0-9._/\\-]|$)", source)
    ours <- grepl(paste0("^", python_package, " *([^A-Za-z0-9._/\\-]|$)"), source)
    abort(c("{.arg source} must be a folder that exists, a wheel or a URL.",
            "x" = if (theirs) "On PyPI {.val {source}} is another project's package."
              else if (ours) "{.val {source}} is not on PyPI."
              else "There is no {.file {source}}.",
            "i" = if (theirs || ours) "Give the project's folder, or a wheel of it."), call)
  }
  if (local && dir.exists(path) && !file.exists(file.path(path, "pyproject.toml"))) {
    abort(c("{.arg source} must be the folder of the project.",
            "x" = "{.file {source}} has no {.file pyproject.toml}."), call)
  }
  requirement <- if (local) normalizePath(path) else sub(name_before_url, "", source)
  if (method == "py_require") {
    requirement <- paste(python_package, "@", if (local) file_url(requirement) else requirement)
  }
  list(method = method, requirements = c(requirement, rpy2_requirements()), envname = envname)
}

file_url <- function(path) paste0("file://", utils::URLencode(path))

# The rpy2 that fits this R, as r_bridge/rpy2_fit.py has it (a test holds the two together).
rpy2_requirements <- function(r = getRversion()) {
  if (r >= "4.5") c("rpy2==3.6.9", "rpy2-rinterface==3.6.7", "rpy2-robjects==3.6.6")
    else c("rpy2==3.6.6", "rpy2-rinterface==3.6.5", "rpy2-robjects==3.6.6")
}
