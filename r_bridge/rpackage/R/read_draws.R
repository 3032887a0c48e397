#' Read the random draws of a run
#'
#' `pyvae trace --draws` writes the initial parameters and, for each step, the images, dropout masks
#' and noise into the folder `draws` of a trace. An engine in another language can repeat the run
#' from them. Works without Python; numbers are exact to the last bit.
#'
#' @param folder The folder of a trace with draws, or the folder `draws` itself.
#' @param steps The steps to read, from 1; by default all.
#' @returns A list of class `pyvae_draws`: `initial`, a named list of the parameters before the
#'   first step, and `steps`, named by step, each a named list of arrays: `input` (images x 784,
#'   pixels from 0 to 1), and the recipe's masks (1 keeps, 0 drops) and noise. The order of indices
#'   is that of Python.
#' @seealso [read_trace()]; [write_trace()] to record the repeated run, [compare_traces()] to
#'   compare it with Python's.
#' @export
#' @examples
#' \dontrun{
#' # in a shell: pyvae trace --data digits --steps 3 --draws --out trace
#' draws <- read_draws("trace")
#' dim(draws$steps[["1"]]$input)
#' }
read_draws <- function(folder, steps = NULL) {
  here <- environment()
  unreadable <- function(why) {
    abort(c("The draws in {.file {folder}} cannot be read.", "x" = "{why}"), here)
  }
  if (!is.character(folder) || length(folder) != 1L || is.na(folder)) {
    abort(c("{.arg folder} must be a path.", "x" = "It is {in_words(folder)}."), here)
  }
  inner <- file.path(folder, "draws")
  place <- if (file.exists(file.path(inner, "initial.safetensors"))) inner else folder
  if (!file.exists(file.path(place, "initial.safetensors"))) {
    if (file.exists(file.path(folder, "trace.json"))) {
      unreadable("The trace has no draws: write it again with `pyvae trace --draws`.")
    }
    unreadable("It has no initial.safetensors.")
  }
  files <- list.files(place, "^step-[0-9]+[.]safetensors$")
  there <- sort(as.integer(gsub("[^0-9]", "", files)))
  chosen <- if (is.null(steps)) there else check_steps(steps, there, here)
  read <- function(file) {
    tryCatch(read_safetensors(file.path(place, file)), error = function(e) {
      unreadable(paste0("Its ", file, " is damaged: ", first_line(conditionMessage(e))))
    })
  }
  each <- lapply(chosen, function(step) read(sprintf("step-%06d.safetensors", step)))
  structure(list(initial = read("initial.safetensors"), steps = stats::setNames(each, chosen)),
            class = "pyvae_draws")
}

# Steps that are there.
check_steps <- function(steps, there, call) {
  if (!is.numeric(steps) || anyNA(steps) || any(steps != round(steps))) {
    abort(c("{.arg steps} must be whole numbers.", "x" = "It is {in_words(steps)}."), call)
  }
  absent <- setdiff(steps, there)
  if (length(absent)) {
    range <- if (length(there)) paste(range(there), collapse = " to ") else "none"
    abort(c("{.arg steps} must be steps that were written.",
            "x" = "Step {absent[[1L]]} was not.", "i" = "Steps that were: {range}."), call)
  }
  as.integer(steps)
}

#' @rdname read_draws
#' @param x Draws from `read_draws()`.
#' @param ... Not used; other arguments are an error.
#' @export
print.pyvae_draws <- function(x, ...) {
  check_no_more(rlang::exprs(...), "print", character())
  cat("Draws for ", counted(length(x$steps), "step"), "; ",
      counted(sum(lengths(x$initial)), "initial parameter"), "\n", sep = "")
  if (length(x$steps)) {
    one <- x$steps[[1L]]
    shapes <- vapply(one, function(x) paste(dim(x) %||% length(x), collapse = " x "), "")
    cat("  each step: ", paste(names(one), shapes, collapse = "; "), "\n", sep = "")
  }
  invisible(x)
}
