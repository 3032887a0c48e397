#' Compare two traces
#'
#' Compares two recorded runs, made on any machine by programs in any language, as
#' `pyvae compare A B` does: two programs of your own ([record()], [write_program_trace()], or
#' `pyvae.record` in Python), or two runs of a recipe ([write_trace()], `pyvae trace`). Needs Python
#' (see [pyvae_sitrep()]).
#'
#' @param a,b Each the folder of a trace, a trace from [read_program_trace()] or [read_trace()], or a
#'   fit from [vae_fit()]. Of a recipe's trace only the probes that it was read with are compared.
#' @param exact Whether every bit has to be equal.
#' @param folder The folder for tables and figures, and for `report.html` with `report = TRUE`.
#' @param report Whether to write `report.html`.
#' @param verbose Whether to show the progress of the comparison.
#' @param names For two programs: a data frame with the columns a and b, or a CSV file of it, which
#'   says what belongs together where names and order do not.
#' @param accept For two programs: what their libraries do otherwise and a faithful port may have:
#'   `"running-variance"` (the moving variance of Keras' batch norm is of the biased variance),
#'   `"adam-eps"` (Keras adds it before the bias correction), `"rmsprop-eps"` (inside the root).
#' @returns For two runs of a recipe a list of class `pyvae_comparison`: see [compare_with_r()]. For
#'   two programs a list of class `pyvae_port_comparison`:
#'   - `verdict`: `"agree"` or `"part"`; `words`: the verdict in a line
#'   - `first_part`: `NULL`, or where the two first part: `step`, `place`, `pass`, `looks_like` (what
#'     the difference looks like), `wrong` (the side that does not return what it should for its own
#'     inputs; `""` if that is not known), `element` (the worst element), `max_abs`
#'   - `quantities`: a data frame with a row for each value, gradient, state and parameter that both
#'     have, in the order of computation
#'   - `names`: a data frame of what belongs together, which can be given as `names`
#'   - `sides`, `declared` (what the two declare differently), `notes`, `exact`, `folder`
#' @seealso [read_program_trace()], [write_program_trace()], [record()]; [read_trace()],
#'   [write_trace()], [read_draws()]
#' @export
#' @examples
#' \dontrun{
#' check <- compare_traces("python", "r")
#' check
#' check$first_part$wrong
#' subset(check$quantities, verdict == "parted")
#' }
compare_traces <- function(a, b, exact = FALSE, folder = tempfile("comparison"), report = FALSE,
                           verbose = interactive(), names = NULL, accept = character()) {
  here <- environment()
  check_flag(exact, "exact")
  check_flag(report, "report")
  check_flag(verbose, "verbose")
  written <- c(a = tempfile("a"), b = tempfile("b"), map = tempfile("map", fileext = ".csv"))
  on.exit(unlink(written, recursive = TRUE))
  map <- if (!is.null(names)) map_file(names, written[["map"]], here)
  traces <- c(trace_folder(a, "a", written[["a"]], here),
              trace_folder(b, "b", written[["b"]], here))
  folder <- check_folder(folder, here, normalizePath(traces))
  found <- check_python(here)
  if (!is.character(accept) || anyNA(accept)) {
    abort(c("{.arg accept} must be names of differences of the libraries.",
            "x" = "It is {in_words(accept)}."), here)
  }
  arguments <- c(traces, if (exact) "--exact", if (!is.null(map)) c("--map", map),
                 rbind(rep("--accept", length(accept)), accept))
  run_comparison(found$python, arguments, folder, report, verbose, here)
}

# The folder of a trace; one in memory is written into `written`.
trace_folder <- function(x, name, written, call) {
  if (inherits(x, "pyvae_program_trace")) return(x$folder)
  if (inherits(x, c("pyvae_trace", "vae_fit"))) {
    write_trace(written, x)
    return(written)
  }
  if (!is.character(x) || length(x) != 1L || is.na(x)) {
    abort(c("{.arg {name}} must be the folder of a trace, a trace or a fit.",
            "x" = "It is {in_words(x)}."), call)
  }
  inside <- list.dirs(x, recursive = FALSE)                         # one for each objective
  if (!any(file.exists(file.path(c(x, inside), "trace.json")))) {
    abort(c("{.arg {name}} must be the folder of a trace.",
            "x" = if (dir.exists(x)) "{.file {x}} has no {.file trace.json}."
              else "There is no folder {.file {x}}."), call)
  }
  if (is_program_trace(x) && !startsWith(x, "-")) path.expand(x) else normalizePath(x)
}

# The file of a map of names; one in memory is written into `written`.
map_file <- function(names, written, call) {
  if (is.data.frame(names) && all(c("a", "b") %in% names(names))) {
    utils::write.csv(names[c("a", "b")], written, row.names = FALSE, fileEncoding = "UTF-8")
    return(written)
  }
  if (!is.character(names) || length(names) != 1L) {
    abort(c("{.arg names} must be a data frame with the columns a and b, or a CSV file.",
            "x" = "It is {in_words(names)}."), call)
  }
  check_map(names, call)
  path.expand(names)
}

# What `pyvae compare` left of two programs in a folder; `about` is comparison.json.
read_port_comparison <- function(about, folder) {
  table <- function(name) {
    utils::read.csv(file.path(folder, name), stringsAsFactors = FALSE, encoding = "UTF-8",
                    colClasses = c(a = "character", b = "character"))
  }
  first <- about$first_part
  if (!is.null(first)) first$looks_like <- as.character(unlist(first$looks_like))
  structure(list(
    verdict = about$verdict, words = about$words, first_part = first,
    quantities = table("differences.csv"), names = table("names.csv"), sides = about$sides,
    declared = as.character(unlist(about$declared_otherwise)),
    notes = as.character(unlist(about$notes)), exact = about$exact, folder = folder),
    class = "pyvae_port_comparison")
}

#' Print or tabulate a comparison of two programs
#'
#' @param x A comparison of two programs from [compare_traces()].
#' @param ... Not used; other arguments are an error.
#' @returns `print()` returns its argument, invisibly; `as.data.frame()` returns the table
#'   `quantities`.
#' @name print.pyvae_port_comparison
NULL

#' @rdname print.pyvae_port_comparison
#' @export
print.pyvae_port_comparison <- function(x, ...) {
  check_no_more(rlang::exprs(...), "print", character())
  for (name in names(x$sides)) {
    side <- x$sides[[name]]
    about <- printable(c(side$engine, side$program))
    lacking <- side[["values without a partner"]]
    cat(printable(name), ": ", paste(about[nzchar(about)], collapse = ", "), ", ",
        counted(side$steps, "step"), " recorded",
        if (lacking > 0) paste0("; ", counted(lacking, "value"), " without a partner"), "\n",
        sep = "")
  }
  verdicts <- c(equal = "equal in every bit", within = "within rounding", explained = "explained",
                parted = "apart")
  counts <- table(factor(x$quantities$verdict, names(verdicts)))
  shown <- counts > 0L
  cat(nrow(x$quantities), " quantities: ",
      paste(counts[shown], verdicts[shown], collapse = ", "), "\n", sep = "")
  for (words in c(x$declared, x$notes)) cat(printable(words), "\n", sep = "")
  first <- x$first_part
  if (!is.null(first)) {
    cat("first part at ", printable(first$place), "\n", sep = "")
    for (words in first$looks_like) cat("  looks like: ", printable(words), "\n", sep = "")
    if (nzchar(first$element)) cat("  worst element: ", printable(first$element), "\n", sep = "")
    if (nzchar(first$wrong)) {
      cat("  ", printable(first$wrong), " does not return what it should for its own inputs\n",
          sep = "")
    }
  }
  cat("verdict: ", printable(x$words), "\n", sep = "")
  invisible(x)
}

#' @rdname print.pyvae_port_comparison
#' @param row.names,optional As in [as.data.frame()]; `optional` is not used.
#' @export
as.data.frame.pyvae_port_comparison <- function(x, row.names = NULL, optional = FALSE, ...) {
  check_no_more(rlang::exprs(...), "as.data.frame", c("row.names", "optional"),
                but = "stringsAsFactors")
  table <- x$quantities
  if (!is.null(row.names)) row.names(table) <- row.names
  table
}
