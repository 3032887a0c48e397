# Python: found and checked before the session binds to it, loaded on first use.

# the$module: r_bridge/from_r; the$asked: see known_python()
the <- new.env(parent = emptyenv())
python_oldest <- "3.11"

# The functions of r_bridge/from_r.
python <- function(call = NULL) {
  if (is.null(the$module)) {
    check_python(call)
    refuse_loaded_foreign(call)
    the$module <- tryCatch({
      own_blas <- without_poetry_warning(
        reticulate::import("r_bridge.torch_in_r")$import_torch())
      if (!own_blas) warn_of_foreign_torch()
      reticulate::import("r_bridge.from_r", convert = FALSE)
    }, error = function(e) {
      why <- first_line(conditionMessage(e))
      abort(c("The Python package pyvae cannot be loaded.", "x" = "{why}",
              "i" = "See {.run [pyvae_sitrep()](pyvae::pyvae_sitrep())}."), call)
    })
  }
  the$module
}

# Stops if this session has imported another project's module pyvae: ours cannot be imported then.
refuse_loaded_foreign <- function(call) {
  if (!reticulate::py_available()) return(invisible())
  loaded <- reticulate::import("sys", convert = FALSE)$modules$get("pyvae")
  ours <- reticulate::import("importlib.util")$find_spec("r_bridge")
  if (inherits(loaded, "python.builtin.NoneType") || is.null(ours)) return(invisible())
  file <- reticulate::py_get_attr(loaded, "__file__", silent = TRUE)
  file <- if (is.null(file)) "nowhere" else as.character(reticulate::py_to_r(file))
  if (identical(dirname(dirname(file)), dirname(dirname(ours$origin)))) return(invisible())
  abort(c("The Python module pyvae that this session has loaded belongs to another project.",
          "x" = "It is {.file {file}}.", "i" = "Use this package in a new R session."), call,
        class = "pyvae_no_python")
}

# Older versions of reticulate warn of Poetry in any folder with a pyproject.toml, such as this
# project's.
without_poetry_warning <- function(code) {
  withCallingHandlers(code, warning = function(w) {
    if (grepl("Poetry", conditionMessage(w))) invokeRestart("muffleWarning")
  })
}

# torch_in_r.py explains why the order of imports matters.
warn_of_foreign_torch <- function() {
  cli::cli_warn(c(
    "PyTorch was loaded in this session before pyvae, and may use R's BLAS for matrix products.",
    "!" = "Results can differ from those of Python alone in the last digits.",
    "i" = "In a new session, use pyvae first, or set {.code options(pyvae.own_process = TRUE)}."))
}

first_line <- function(text) {
  lines <- strsplit(trimws(text), "\n", fixed = TRUE)[[1L]]
  lines <- lines[nzchar(trimws(lines)) & !grepl("^Run `?reticulate", lines)]
  if (length(lines)) trimws(lines[[1L]]) else "no reason was given"
}

# The Python that would be used: list(python, version, pyvae, problem). `problem` is NULL, or three
# texts: what is wrong, what was found, what to do. Loads nothing into the session. `ask` tells of a
# Python what ask_python() does.
find_python <- function(ask = ask_python) {
  found <- list(python = NULL, version = NULL, pyvae = NULL, problem = NULL)
  config <- tryCatch(discover_python(), error = identity)
  if (inherits(config, "error") && grepl("occurred running", conditionMessage(config))) {
    found$problem <- c(
      paste("reticulate", utils::packageVersion("reticulate"), "cannot use this Python."),
      sub(":$", ".", first_line(conditionMessage(config))),
      paste("Update reticulate (1.28 supports Python up to 3.11), or choose another Python with",
            "`reticulate::use_python()` or the environment variable RETICULATE_PYTHON."))
    return(found)
  }
  if (inherits(config, "error") || is.null(config$python)) {
    why <- if (inherits(config, "error")) first_line(conditionMessage(config))
      else "reticulate finds no Python."
    found$problem <- c("Python was not found.", why, paste(
      "Install Python", python_oldest, "or newer and",
      paste0(how_to_install(), ", or choose one with"),
      "`reticulate::use_python()` or the environment variable RETICULATE_PYTHON."))
    return(found)
  }
  found$python <- config$python
  asked <- ask(config$python)
  if (is.null(asked)) {
    found$problem <- c("Python cannot be run.", paste0(config$python, " does not run."),
                       "Choose another with `reticulate::use_python()`.")
    return(found)
  }
  found$version <- asked$version
  if (numeric_version(asked$version) < python_oldest) {
    found$problem <- c(
      paste("Python is too old: pyvae needs", python_oldest, "or newer."),
      paste0(config$python, " is Python ", asked$version, "."),
      paste0("Choose a newer one with `reticulate::use_python()`, or ", how_to_install(), "."))
  } else if (!is.null(asked$foreign)) {
    found$problem <- foreign_problem(asked$foreign, config$python)
  } else if (is.null(asked$pyvae)) {
    found$problem <- c(
      "The Python package pyvae is not installed.",
      paste0(config$python, " cannot import pyvae."),
      paste("To install it,", paste0(how_to_install(), ", or choose a Python that has it with"),
            "`reticulate::use_python()` or RETICULATE_PYTHON."))
  } else if (!asked$bridge) {
    found$problem <- c(
      "The Python package pyvae is too old for this R package.",
      paste0("pyvae ", asked$pyvae, " of ", config$python, " has no `r_bridge.from_r`."),
      paste0("To update it, ", how_to_install(), "."))
  }
  found["pyvae"] <- list(asked$pyvae)
  found
}

# The problem of a Python module pyvae that belongs to another project (PyPI has one).
foreign_problem <- function(foreign, python) {
  c("The Python module pyvae that was found belongs to another project.",
    sprintf("%s would import %s.", python, foreign),
    paste("To install this project's pyvae into a separate environment,",
          paste0(how_to_install(), ", or choose a Python that has it with"),
          "`reticulate::use_python()` or RETICULATE_PYTHON."))
}

# As reticulate describes it; NULL if it finds none.
discover_python <- function() {
  if (reticulate::py_available()) return(reticulate::py_config())
  config <- suppressWarnings(reticulate::py_discover_config("pyvae", "r-pyvae"))
  if (is.null(config) && is_required()) {
    # the environment that py_require() asks for is only made, and told, while Python starts
    before <- options(reticulate.python.initializing = TRUE)
    on.exit(options(before))
    if (is.null(the$managed)) the$managed <- reticulate::py_discover_config("pyvae", "r-pyvae")
    config <- the$managed
  }
  config
}

# Whether py_require() was called for pyvae, of a reticulate that has it.
is_required <- function() {
  if (!"py_require" %in% getNamespaceExports("reticulate")) return(FALSE)
  any(grepl(paste0("^", python_package, "\\b"), getExportedValue("reticulate", "py_require")()$packages))
}

# Version of a Python and of the pyvae that it would import, asked in a process of its own.
# `foreign`: where that pyvae is, and which, if it is not ours: ours has r_bridge beside it.
ask_python <- function(python) {
  number <- "'.'.join(map(str, sys.version_info[:3]))"
  code <- paste(
    "import sys",
    "sys.path = [folder for folder in sys.path if folder]",         # not the working directory
    "import json, os, importlib.util as u, importlib.metadata as m",
    "def place(name):",
    "    spec = u.find_spec(name)",
    "    if spec is None: return None",
    "    return [*(spec.submodule_search_locations or []), spec.origin][0]",
    "pyvae, bridge = place('pyvae'), place('r_bridge')",
    "ours = pyvae and bridge and os.path.dirname(pyvae) == os.path.dirname(bridge)",
    sprintf("name = '%s' if ours else 'pyvae'", python_package),
    "try: version, summary = m.version(name), m.metadata(name)['Summary'] or ''",
    "except Exception: version, summary = 'of unknown version', ''",
    "foreign = None",
    "if pyvae and not ours:",
    "    foreign = pyvae + ' (version ' + version + (': ' + summary if summary else '') + ')'",
    "    foreign = foreign.replace('version of', 'of')",
    "version = version if pyvae else None",
    "bridge = bool(pyvae and not foreign and u.find_spec('r_bridge.from_r'))",
    paste("python =", number),
    "print('pyvae:' + json.dumps([python, version, bridge, foreign]))", sep = "\n")
  run <- tryCatch(
    processx::run(python, c("-c", code), error_on_status = FALSE, timeout = 60),
    error = function(e) NULL)
  line <- grep("^pyvae:", strsplit(run$stdout %||% "", "\n")[[1L]], value = TRUE)
  if (!length(line)) {                                             # older than importlib.metadata
    run <- tryCatch(
      processx::run(python, c("-c", paste0("import sys; print(", number, ")")), timeout = 60),
      error = function(e) NULL)
    return(if (is.null(run)) NULL else list(version = trimws(run$stdout), bridge = FALSE))
  }
  answer <- jsonlite::fromJSON(sub("^pyvae:", "", line[[1L]]), simplifyVector = FALSE)
  list(version = answer[[1L]], pyvae = answer[[2L]], bridge = isTRUE(answer[[3L]]),
       foreign = if (!is.null(answer[[4L]])) gsub("[[:cntrl:]]+", " ", answer[[4L]]))
}

# As ask_python(), of which a Python that has our pyvae is asked once: to start one takes longer than
# most calls of it. Asked again where it, or what it inherits of this session, is another one.
known_python <- function(python) {
  question <- list(python, Sys.getenv(), getwd())
  if (identical(the$asked$question, question)) return(the$asked$answer)
  answer <- ask_python(python)
  if (isTRUE(answer$bridge)) the$asked <- list(question = question, answer = answer)
  answer
}

# The library paths of a Python that is started from R: the user's own. R's start (etc/ldpaths) puts
# folders before them, the system's among them, where a Python may find another one's library; then
# modules of its own fail, such as the resource tracker of processes.
user_library_paths <- function(file = file.path(R.home("etc"), "ldpaths")) {
  paths <- Sys.getenv(c("LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"))
  paths <- paths[nzchar(paths)]
  if (!length(paths) || !file.exists(file)) return(paths)
  names <- names(paths)
  said <- paste0(". ", shQuote(file), "; printf '%s' \"$", names, "\"; echo", collapse = "; ")
  nothing <- stats::setNames(rep("", length(names)), names)
  run <- tryCatch(processx::run("sh", c("-c", said), env = c("current", nothing, R_HOME = R.home())),
                  error = function(e) NULL)
  theirs <- unlist(strsplit(run$stdout %||% "", "[:\n]"))
  vapply(paths, function(path) {
    paste(setdiff(strsplit(path, ":", fixed = TRUE)[[1L]], theirs), collapse = ":")
  }, "")
}

# Runs code that starts a Python with these: its ssl, which pip downloads with, may fail otherwise.
with_user_library_paths <- function(code) {
  paths <- user_library_paths()
  if (length(paths)) {
    before <- Sys.getenv(names(paths), names = TRUE)
    on.exit(do.call(Sys.setenv, as.list(before)))
    do.call(Sys.setenv, as.list(paths))
  }
  force(code)
}

check_python <- function(call = NULL) {
  found <- find_python(known_python)
  if (!is.null(found$problem)) {
    problem <- found$problem
    abort(c("{problem[[1L]]}", "x" = "{problem[[2L]]}", "i" = "{problem[[3L]]}"), call,
          class = "pyvae_no_python")
  }
  invisible(found)
}

`%||%` <- function(x, y) if (is.null(x)) y else x
