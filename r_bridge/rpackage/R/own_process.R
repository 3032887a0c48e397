# Where Python runs: in this session, or in a separate process. R's torch and PyTorch each load a
# LibTorch, and two of them in one process end in undefined symbols or worse. Python is kept out of
# a session that has loaded R's torch, or can load it.

needs_own_process <- function(call = NULL) {
  loaded <- isNamespaceLoaded("torch")
  wanted <- getOption("pyvae.own_process")
  if (is.null(wanted)) {
    return(loaded || (is.null(the$module) && nzchar(system.file(package = "torch"))))
  }
  wanted <- check_flag(wanted, "options(\"pyvae.own_process\")", call)
  if (!wanted && loaded) {
    abort(c("The R package torch is loaded: Python's PyTorch cannot be loaded in the same session.",
            "x" = "{.code options(pyvae.own_process = FALSE)} is set.",
            "i" = paste("Use {.code options(pyvae.own_process = NULL)} to run Python in a separate",
                        "process.")),
          call)
  }
  wanted
}

# Calls a function of this package by name, in this session or in a separate R process. `progress`
# is called with each report of the function, a list; if that is a question (event "ask"), what it
# returns is the answer. Ctrl-C is passed on to the other process, which ends its work as this
# session would.
where_python_is <- function(name, arguments, progress = function(report) NULL, call = NULL) {
  if (!needs_own_process(call)) {
    return(do.call(name, c(arguments, list(progress = progress, call = call))))
  }
  python <- check_python(call)$python
  reply <- tempfile("reply")
  taken <- take_process(python)
  process <- taken$process
  on.exit({
    keep_process(taken)
    unlink(reply)
  })
  errors <- character()
  read_output <- function() {
    for (line in process$read_output_lines()) {
      if (startsWith(line, report_mark)) {
        report <- jsonlite::fromJSON(substring(line, nchar(report_mark) + 1L))
        if (identical(report$event, "ask")) give_answer(progress, report, reply)
          else progress(report)
      }
    }
    errors <<- utils::tail(c(errors, process$read_error_lines()), 20L)
  }
  process$call(run_for_other, list(name, arguments, reply, Sys.getpid(), getwd()))
  done <- NULL
  repeat {
    tryCatch({
      process$poll_io(200L)
      read_output()
      done <- process$read()
    }, interrupt = function(condition) process$interrupt())
    if (has_ended(done) || !process$is_alive()) break
  }
  read_output()
  if (is.null(done$result)) {
    process$kill()                                                 # what is half loaded stays so
    if (inherits(done$error$parent, "interrupt")) rlang::interrupt()
    why <- first_line(paste(c(errors, conditionMessage(done$error %||% ended)), collapse = "\n"))
    abort(c("The R process that runs Python has stopped.", "x" = "{why}"), call)
  }
  if (!is.null(done$result$error)) {
    done$result$error$call <- rlang::error_call(call)
    rlang::cnd_signal(done$result$error)
  }
  done$result$value
}

ended <- simpleError("It ended without a word.")

# Whether what an r_session of callr says is its last word on a call: done, or that it has ended. It
# says other things on the way.
has_ended <- function(said) !is.null(said) && (said$code == 200L || said$code >= 500L)

# The process for a call, with what it has inherited of this session and the number of that. R and
# PyTorch take seconds to start, so that it is kept for the next call, unless what a new one would
# inherit is no longer the same: the$process, which is NULL while a call uses it. One that a forked
# session has from its parent is the parent's, and would be killed if it were freed.
# A process is killed without a chance to remove its temporary files: they lie in this session's
# folder, and go with it (those of a forked session with its parent's).
take_process <- function(python) {
  inherited <- list(python, .libPaths(), Sys.getenv(), tempdir())
  kept <- the$process
  the$process <- NULL
  if (!is.null(kept)) {
    if (kept$session != Sys.getpid()) {
      the$process_of_parent <- kept
    } else if (kept$process$is_alive() && identical(kept$inherited, inherited)) {
      return(kept)
    } else {
      kept$process$kill()
    }
  }
  process <- callr::r_session$new(callr::r_session_options(
    user_profile = FALSE, stdout = "|", stderr = "|",
    env = c(callr::rcmd_safe_env(), RETICULATE_PYTHON = python, TMPDIR = tempdir())),
    wait_timeout = 600000L)
  list(process = process, inherited = inherited, session = Sys.getpid())
}

# Keeps a process for the next call, unless its own was broken off. A callback of the call may have
# made another call, with a process of its own.
keep_process <- function(taken) {
  if (!taken$process$is_alive() || taken$process$get_state() != "idle") {
    taken$process$kill()
    return(invisible())
  }
  if (!is.null(the$process)) the$process$process$kill()
  the$process <- taken
}

report_mark <- "pyvae-report:"

# Writes TRUE or FALSE into the file that the other process waits for; FALSE if the answer fails or
# is interrupted.
give_answer <- function(progress, report, file) {
  go_on <- FALSE
  tryCatch(go_on <- !isFALSE(progress(report)), finally = {
    part <- paste0(file, ".part")
    writeLines(as.character(go_on), part)
    file.rename(part, file)
  })
}

# Waits for that file, while the session that asked is alive.
wait_for_answer <- function(file, asker) {
  while (!file.exists(file)) {
    if (!is_alive(asker)) return(FALSE)
    Sys.sleep(0.002)
  }
  on.exit(unlink(file))
  as.logical(readLines(file))
}

# Whether there is such a process. On Windows that is not asked: there pskill() ends it, whatever the
# signal.
is_alive <- function(process) {
  .Platform$OS.type == "windows" || tools::pskill(process, 0L)
}

# Runs in the other process.
run_for_other <- function(name, arguments, reply, asker, folder) {
  options(pyvae.own_process = FALSE)
  if (!is.null(folder)) setwd(folder)                              # NULL: it has been removed
  ours <- asNamespace("pyvae")
  progress <- function(report) {
    cat(ours$report_mark, jsonlite::toJSON(report, auto_unbox = TRUE, digits = NA, null = "null"),
        "\n", sep = "")
    flush(stdout())
    if (identical(report$event, "ask")) ours$wait_for_answer(reply, asker)
  }
  given <- c(arguments, list(progress = progress, call = NULL))
  tryCatch(list(value = do.call(ours[[name]], given)),
           pyvae_error = function(e) list(error = e))
}
