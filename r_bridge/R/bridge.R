# How Python calls R: one function, whose errors come back as data.
#
#   bridge_call("session_step", list(x = ..., draws = ...))
#     list(value = ...)                             or
#     list(error = "R's own message", call = "the call that failed", where = c("f() at f.R line 3"))

bridge_call <- function(name, arguments) {
  # The arguments are bound to names and passed as symbols: a call that held them as values
  # would be printed with all their numbers in an error.
  frame <- list2env(arguments, parent = globalenv())
  call <- as.call(c(as.name(name), lapply(stats::setNames(nm = names(arguments)), as.name)))
  problem <- NULL
  value <- tryCatch(
    withCallingHandlers(eval(call, frame), error = function(e) {
      stack <- sys.calls()
      problem <<- list(error = conditionMessage(e), call = bridge_first_line(conditionCall(e)),
                       where = bridge_where(stack))
    }),
    error = function(e) NULL
  )
  if (is.null(problem)) list(value = value) else problem
}

# The places in sourced files that a stack of calls went through, the innermost first.
bridge_where <- function(stack) {
  where <- character()
  for (call in rev(stack)) {
    reference <- attr(call, "srcref")
    if (is.null(reference)) next
    file <- basename(attr(reference, "srcfile")$filename)
    if (file == "bridge.R") next
    where <- c(where, sprintf("%s at %s line %d", bridge_first_line(call[[1L]]), file,
                              reference[[1L]]))
  }
  where
}

bridge_first_line <- function(call) {
  if (is.null(call)) "" else deparse(call, width.cutoff = 120L, nlines = 1L)
}

bridge_source <- function(file) {
  source(file, local = globalenv(), keep.source = TRUE)
  invisible(NULL)
}

bridge_evaluate <- function(code) {
  eval(parse(text = code, keep.source = TRUE), globalenv())
}

bridge_about <- function() {
  list(R = as.character(getRversion()), blas = unname(extSoftVersion()["BLAS"]),
       platform = R.version$platform)
}
