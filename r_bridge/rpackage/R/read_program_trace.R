#' Read the trace of a program
#'
#' A program's trace has the network as it was executed and the values of the recorded steps.
#' [record()] and [write_program_trace()] write it in R, `pyvae.record` and
#' `pyvae.write_program_trace` in Python. Works without Python; numbers are exact to the last bit.
#'
#' @param folder A folder with `trace.json`.
#' @returns A list of class `pyvae_program_trace`:
#'   - `engine`, `language`, `index_base`, `program`, `environment`: who computed
#'   - `parameters`: a data frame of parameters and buffers: `name`, `shape`, `kind`, `trainable`,
#'     `same_as`
#'   - `networks`: the networks that were executed, each a list of stages, named, as [stage()]
#'     returns them; mostly there is one
#'   - `steps`: a list of the recorded steps, named by their numbers, each `list(step, network,
#'     optimiser, generator)`, where `network` is the place in `networks`
#'   - `complete`, `ended`: whether the recording ended early, and why
#'   - `arrays`: a function of a step's number that reads its values: a named list of arrays, such
#'     as `"forward/fc"` and `"gradient/fc.weight"`. The order of indices is that of Python.
#'     Whole numbers, such as classes, come as doubles, counted from `index_base`: a loss of the package
#'     torch takes them as `torch_tensor(y + 1 - trace$index_base, dtype = torch_long())`
#'   - `folder`
#' @seealso [compare_traces()]; [read_trace()] for the trace of a recipe.
#' @export
#' @examples
#' \dontrun{
#' trace <- read_program_trace("r")
#' trace
#' names(trace$networks[[1]])
#' values <- trace$arrays(1)
#' values[["loss/total"]]
#' }
read_program_trace <- function(folder) {
  here <- environment()
  if (!is.character(folder) || length(folder) != 1L || is.na(folder)) {
    abort(c("{.arg folder} must be a path.", "x" = "It is {in_words(folder)}."), here)
  }
  about <- read_program_json(folder, here)
  folder <- normalizePath(folder)
  tryCatch(new_program_trace(about, folder), error = function(e) {
    abort(c("Trace {.file {folder}} cannot be read.",
            "x" = "Its trace.json has a value of a wrong type."), here)
  })
}

new_program_trace <- function(about, folder) {
  text <- function(field, or = "") {
    vapply(about$parameters, function(one) as.character(one[[field]] %||% or), "")
  }
  numbers <- vapply(about$steps, function(one) as.numeric(one$step), 0)
  structure(list(
    engine = about$engine, language = about$language %||% "", index_base = about$index_base %||% 0L,
    program = about$program %||% "", environment = about$environment %||% list(),
    parameters = data.frame(
      name = text("name"),
      shape = vapply(about$parameters, function(one) paste(unlist(one$shape), collapse = " x "), ""),
      kind = text("kind", "parameter"),
      trainable = vapply(about$parameters, function(one) !isFALSE(one$trainable), NA),
      same_as = text("same_as"), stringsAsFactors = FALSE),
    networks = lapply(about$networks, read_stages),
    steps = stats::setNames(lapply(about$steps, read_step), numbers),
    complete = !isFALSE(about$complete), ended = about$ended %||% "",
    arrays = function(step) read_program_step(folder, step, numbers), folder = folder),
    class = "pyvae_program_trace")
}

read_program_json <- function(folder, call) {
  unreadable <- function(why) {
    abort(c("Trace {.file {folder}} cannot be read.", "x" = "{why}"), call)
  }
  path <- file.path(folder, "trace.json")
  if (!dir.exists(folder)) unreadable("There is no such folder.")
  if (!file.exists(path)) unreadable("It has no trace.json.")
  about <- tryCatch(jsonlite::fromJSON(path, simplifyVector = FALSE),
                    error = function(e) unreadable("Its trace.json is not JSON."))
  if (is_number(about$format) && about$format < program_format) {
    unreadable("It is the trace of a recipe: read_trace() reads it.")
  }
  fields <- c("format", "engine", "parameters", "networks", "steps")
  absent <- setdiff(fields, names(about))
  if (length(absent)) unreadable(paste0("Its trace.json has no ", absent[[1L]], "."))
  if (!is_number(about$format) || about$format != program_format) {
    unreadable(paste0("It has format ", in_words(about$format), "; this pyvae reads ",
                      program_format, "."))
  }
  about
}

read_stages <- function(network) {
  stages <- lapply(network, function(given) {
    texts <- function(x) as.character(unlist(x))
    outputs <- texts(given$outputs)
    stage(given$name, given$layer, texts(given$inputs), given$options %||% list(),
          given$parameters %||% list(), if (length(outputs)) outputs else given$name,
          !isFALSE(given$training))
  })
  stats::setNames(stages, vapply(stages, function(one) one$name, ""))
}

read_step <- function(given) {
  list(step = given$step, network = (given$network %||% 0) + 1, optimiser = given$optimiser,
       generator = given$generator %||% "")
}

read_program_step <- function(folder, step, numbers) {
  here <- environment()
  if (!is_number(step) || !step %in% numbers) {
    abort(c("{.arg step} must be a step that was recorded.", "x" = "It is {in_words(step)}.",
            "i" = "Steps that were: {paste(numbers, collapse = ', ')}."), here)
  }
  file <- sprintf("step-%06d.safetensors", as.integer(step))
  path <- file.path(folder, "steps", file)
  if (!file.exists(path)) {
    abort(c("Trace {.file {folder}} is cut.", "x" = "{.file {file}} is missing."), here)
  }
  tryCatch(read_safetensors(path), error = function(e) {
    why <- paste0("Its ", file, " is damaged: ", first_line(conditionMessage(e)))
    abort(c("Trace {.file {folder}} cannot be read.", "x" = "{why}"), here)
  })
}

#' @rdname read_program_trace
#' @param x A trace from `read_program_trace()`.
#' @param ... Not used; other arguments are an error.
#' @export
print.pyvae_program_trace <- function(x, ...) {
  check_no_more(rlang::exprs(...), "print", character())
  about <- c(printable(x$engine), if (nzchar(x$program)) printable(x$program))
  cat("Trace of a program: ", paste(about, collapse = ", "), ", ", counted(length(x$steps), "step"),
      if (!x$complete) ", not recorded to its end", "\n", sep = "")
  cat(counted(sum(x$parameters$kind == "parameter"), "parameter"), ", ",
      counted(sum(x$parameters$kind == "buffer"), "buffer"), ", ",
      counted(length(x$networks), "network"), "\n", sep = "")
  for (one in if (length(x$networks)) x$networks[[1L]]) {
    cat("  ", printable(one$name), ": ", printable(one$layer), "(",
        printable(paste(one$inputs, collapse = ", ")), ")\n", sep = "")
  }
  invisible(x)
}
