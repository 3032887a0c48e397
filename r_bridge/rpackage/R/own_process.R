# Where Python runs: in this session, or in a process of its own. R's torch and PyTorch each bring
# a LibTorch, and two of them in one process end in undefined symbols or worse; so Python stays out
# of a session that has R's torch, or may yet load it.

needs_own_process <- function(call = NULL) {
  loaded <- isNamespaceLoaded("torch")
  wanted <- getOption("pyvae.own_process")
  if (is.null(wanted)) {
    return(loaded || (is.null(the$module) && nzchar(system.file(package = "torch"))))
  }
  wanted <- check_flag(wanted, "options(\"pyvae.own_process\")", call)
  if (!wanted && loaded) {
    abort(c("The R package torch is loaded, and Python's PyTorch does not fit beside it.",
            "x" = "{.code options(pyvae.own_process = FALSE)} asks for both in this session.",
            "i" = "Use {.code options(pyvae.own_process = NULL)}: Python then runs on its own."),
          call)
  }
  wanted
}

# Calls a function of this package by name, here or in an R process of its own. `tell` is called
# with what the function reports on its way, a list at a time. Ctrl-C is handed on to the other
# process, which then ends what it does as it would here.
where_python_is <- function(name, arguments, tell = function(report) NULL, call = NULL) {
  if (!needs_own_process(call)) {
    return(do.call(name, c(arguments, list(tell = tell, call = call))))
  }
  python <- check_python(call)$python
  process <- callr::r_bg(
    run_for_other, list(name, arguments),
    package = FALSE, user_profile = FALSE, stdout = "|", stderr = "|",
    env = c(callr::rcmd_safe_env(), RETICULATE_PYTHON = python))
  on.exit(process$kill())
  said <- character()
  listen <- function() {
    for (line in process$read_output_lines()) {
      if (startsWith(line, report_mark)) {
        tell(jsonlite::fromJSON(substring(line, nchar(report_mark) + 1L)))
      }
    }
    said <<- utils::tail(c(said, process$read_error_lines()), 20L)
  }
  repeat {
    tryCatch({
      process$poll_io(200L)
      listen()
    }, interrupt = function(condition) process$interrupt())
    if (!process$is_alive()) break
  }
  listen()
  result <- tryCatch(process$get_result(), error = identity)
  if (inherits(result, "error")) {
    why <- first_line(paste(c(said, conditionMessage(result)), collapse = "\n"))
    abort(c("The R process that runs Python has ended.", "x" = "{why}"), call)
  }
  if (!is.null(result$error)) {
    result$error$call <- rlang::error_call(call)
    rlang::cnd_signal(result$error)
  }
  result$value
}

report_mark <- "pyvae-report:"

# Runs in the other process.
run_for_other <- function(name, arguments) {
  options(pyvae.own_process = FALSE)
  ours <- asNamespace("pyvae")
  tell <- function(report) {
    cat(ours$report_mark, jsonlite::toJSON(report, auto_unbox = TRUE, digits = NA, null = "null"),
        "\n", sep = "")
    flush(stdout())
  }
  tryCatch(list(value = do.call(ours[[name]], c(arguments, list(tell = tell, call = NULL)))),
           pyvae_error = function(e) list(error = e))
}
