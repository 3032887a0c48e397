# Functions of the user's that are called while Python trains.

# list(on_step, on_epoch), of functions; a single function is called after every epoch.
check_callbacks <- function(callbacks, call = rlang::caller_env()) {
  if (is.null(callbacks)) return(list())
  if (is.function(callbacks)) return(list(on_epoch = callbacks))
  known <- c("on_step", "on_epoch")
  named <- is.list(callbacks) && length(callbacks) > 0L && !is.null(names(callbacks))
  if (named) {
    other <- setdiff(names(callbacks), known)
    if (length(other)) {
      abort(c("{.arg callbacks} has functions for {.val {known}}.",
              "x" = "There is none for {.val {other[[1L]]}}."), call)
    }
    if (all(vapply(callbacks, is.function, NA)) && !anyDuplicated(names(callbacks))) {
      return(callbacks)
    }
  }
  abort(c(paste("{.arg callbacks} must be a function, or a list of functions,",
                "{.code list(on_step = , on_epoch = )}."),
          "x" = "It is {in_words(callbacks)}."), call)
}

# Calls those that are due, and returns whether to go on. `report` is a question of Python's
# (`Asker.question` in r_bridge/from_r/watching.py).
run_callbacks <- function(callbacks, report, call) {
  losses <- list(on_step = report$step_loss, on_epoch = report$epoch_loss)
  go_on <- TRUE
  for (name in names(losses)) {
    if (is.null(callbacks[[name]]) || is.null(losses[[name]])) next
    now <- list(epoch = as.integer(report$epoch), step = as.integer(report$step),
                steps = as.integer(report$steps), loss = unlist(losses[[name]]),
                validation = unlist(report$validation))
    answered <- rlang::try_fetch(callbacks[[name]](now), error = function(e) {
      cli::cli_abort("{.code {name}} of {.arg callbacks} has failed in step {now$step}.",
                     parent = e, call = call, class = "pyvae_error")
    })
    if (isFALSE(answered)) go_on <- FALSE
  }
  go_on
}
