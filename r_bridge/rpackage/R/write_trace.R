# Writes a trace in the format of docs/reference/trace-format.md with base R only. This file can be sourced on
# its own.

trace_format <- 4L

#' Write a trace
#'
#' Records a run, to be compared with another one by [compare_traces()] or
#' `pyvae compare TRACE_A TRACE_B`. Works without Python. Removes an earlier trace in the folder
#' first, and writes `trace.json` last: a folder with `trace.json` holds a complete trace.
#'
#' @param folder The folder to write; created if needed.
#' @param engine The name of the engine, any text; or a trace from [read_trace()] or a fit from
#'   [vae_fit()], without further arguments.
#' @param recipe The recipe's name.
#' @param settings `list(objective, epochs, steps, batch_size, latent_dim, learning_rate, dtype,
#'   seed, rng)`, and `hyper` if the recipe has such settings; without `rng` draws were injected.
#' @param data `list(name, images)`.
#' @param losses Steps x terms: total, reconstruction, regulariser, sums over the batch in nats;
#'   further terms of the objective with their names as column names.
#' @param epochs The epoch of each step, from 1.
#' @param parameters A named list of arrays, after the last step; `NULL` if the run was
#'   interrupted. Arrays have the same order of indices as in Python: `w[2, 1, 3, 3]` in R is
#'   `w[1, 0, 2, 2]` there.
#' @param latent_means `list(training, evaluation)`: images x dimensions, of the last batch.
#' @param samples 16 x 784, decoded draws from N(0, I), or `NULL`.
#' @param probes A list of probes named by step, from 1, such as
#'   `list("1" = list("forward/input" = x))`.
#' @param environment A named list of texts: versions and whatever else results depend on.
#' @param mode `"free"`, or `"resync"` if every step started from the state of another trace.
#' @param start What the run started from, as `docs/reference/trace-format.md` describes it; an empty list for
#'   initial parameters.
#' @returns `folder`, invisibly.
#' @seealso [read_trace()], which has an example.
#' @export
write_trace <- function(folder, engine, recipe, settings, data, losses, epochs,
                        parameters = NULL, latent_means = NULL, samples = NULL, probes = list(),
                        environment = list(), mode = "free", start = list()) {
  if (is.list(engine)) return(do.call(write_trace, c(list(folder), trace_arguments(engine))))
  check_run(settings, data, losses, epochs, parameters)
  check_names(parameters, latent_means, settings$hyper, environment)
  check_probes(probes, nrow(losses))
  dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  trace_remove(folder)
  complete <- !is.null(parameters)
  exact <- function(x) sprintf("%.17g", x)
  whole <- function(x) sprintf("%d", as.integer(x))
  rows <- paste(csv_text(engine), settings$objective, whole(epochs), whole(seq_len(nrow(losses))),
                exact(losses[, 1L]), exact(losses[, 2L]), exact(losses[, 3L]), sep = ",")
  head <- "engine,objective,epoch,step,total,reconstruction,regulariser"
  for (further in colnames(losses)[-(1:3)]) {
    rows <- paste(rows, exact(losses[, further]), sep = ",")
    head <- paste(head, further, sep = ",")
  }
  if (settings$objective %in% c("vae", "emae", "em")) {
    rows <- paste(rows, exact(losses[, 1L] / settings$batch_size), sep = ",")
    head <- paste0(head, ",nats_per_image")
  }
  write_lines(file.path(folder, "history.csv"), c(head, rows))
  if (complete) {
    write_safetensors(file.path(folder, "parameters.safetensors"), parameters)
    write_safetensors(file.path(folder, "latents.safetensors"),
                      c(latent_means, if (!is.null(samples)) list(samples = samples)))
  }
  if (length(probes)) dir.create(file.path(folder, "probes"), showWarnings = FALSE)
  for (step in names(probes)) {
    name <- sprintf("step-%06d.safetensors", as.integer(step))
    write_safetensors(file.path(folder, "probes", name), probes[[step]])
  }
  about <- list(format = trace_format, engine = engine, recipe = recipe, settings = settings,
                data = data, environment = environment, mode = mode,
                probes = I(as.integer(names(probes))), steps = nrow(losses), complete = complete)
  if (length(start)) about$start <- start
  write_lines(file.path(folder, "trace.json"), to_json(about))
  invisible(folder)
}

# A cell of text. Where an engine's name has a comma it would be two.
csv_text <- function(x) {
  paste0("\"", gsub("\"", "\"\"", gsub("[[:cntrl:]]", " ", enc2utf8(x)), fixed = TRUE), "\"")
}

check_run <- function(settings, data, losses, epochs, parameters) {
  refuse <- function(...) stop(..., call. = FALSE)
  if (!is.numeric(losses) || !is.matrix(losses) || ncol(losses) < 3L) {
    refuse("losses must be a matrix of steps x 3 or more: total, reconstruction, regulariser, ...")
  }
  if (ncol(losses) > 3L && is.null(colnames(losses))) {
    refuse("the columns of losses must have names if there are more than 3")
  }
  if (!is.numeric(epochs) || length(epochs) != nrow(losses)) {
    refuse("epochs must have ", nrow(losses), " numbers, one for each step")
  }
  needed <- c("objective", "epochs", "batch_size", "latent_dim", "learning_rate", "dtype", "seed")
  lacking <- setdiff(needed, names(settings))
  if (length(lacking)) refuse("settings lack ", paste(lacking, collapse = ", "))
  if (!is.list(data) || !all(c("name", "images") %in% names(data))) {
    refuse("data must be list(name, images)")
  }
}

# What has no name would not be written.
check_names <- function(parameters, latent_means, hyper, environment) {
  refuse <- function(...) stop(..., call. = FALSE)
  if (!all_named(parameters)) refuse("parameters must be a named list of arrays")
  means <- names(latent_means)
  if (!is.null(parameters) && !all(c("training", "evaluation") %in% means)) {
    refuse("latent_means must be list(training = , evaluation = ), matrices of images x dimensions")
  }
  if (!all_named(hyper)) refuse("settings$hyper must be a named list of numbers")
  if (!all_named(environment)) refuse("environment must be a named list of text")
}

check_probes <- function(probes, steps) {
  refuse <- function(...) stop("probes must be a list named by step, such as ",
                               "list(\"1\" = list(\"forward/input\" = x)); ", ..., call. = FALSE)
  if (!length(probes)) return(invisible())
  if (!is.list(probes)) refuse("it is not a list")
  if (is.null(names(probes))) refuse("it has no names")
  wrong <- !grepl("^[1-9][0-9]{0,8}$", names(probes)) | duplicated(names(probes))
  if (any(wrong)) refuse("'", names(probes)[wrong][[1L]], "' is not a step, or occurs twice")
  late <- as.integer(names(probes)) > steps
  if (any(late)) refuse("the run has ", steps, " steps and no step ", names(probes)[late][[1L]])
  bad <- !vapply(probes, all_named, NA)
  if (any(bad)) {
    refuse("the probe of step ", names(probes)[bad][[1L]], " is not a named list of arrays")
  }
}

all_named <- function(x) {
  !length(x) || (is.list(x) && !is.null(names(x)) && all(nzchar(names(x))))
}

# What write_trace takes, from a trace that was read, or a fit.
trace_arguments <- function(x) {
  fields <- setdiff(names(formals(write_trace)), "folder")
  if (inherits(x, "pyvae_trace")) return(unclass(x)[intersect(fields, names(x))])
  if (!inherits(x, "vae_fit")) {
    stop("engine must be a name, a trace or a fit; it is another list", call. = FALSE)
  }
  samples <- x$samples
  if (length(dim(samples)) > 2L) samples <- as_rows(samples, sample_shape(x))
  run <- as_run(x)
  list(engine = "pytorch", recipe = x$recipe, settings = x$settings, data = x$data,
       losses = run$losses, epochs = run$epochs, parameters = coef.vae_fit(x),
       latent_means = x$latent_means, samples = samples, environment = x$environment,
       start = if (is.null(x$start)) list() else x$start)
}

sample_shape <- function(fit) if (length(fit$shape) == 3L) fit$shape else digits_shape

trace_remove <- function(folder) {
  files <- c("trace.json", "history.csv", "parameters.safetensors", "latents.safetensors",
             "checkpoint.safetensors")
  probes <- list.files(file.path(folder, "probes"), "^step-[0-9]+[.]safetensors$")
  unlink(file.path(folder, c(files, file.path("probes", probes))), expand = FALSE)
}

# safetensors: the header's length (8 bytes, little-endian), the header (JSON), the numbers.
# https://github.com/huggingface/safetensors, "Format". Numbers are written as doubles in
# row-major order, or as what `types` says.
write_safetensors <- function(path, arrays, shapes = lapply(arrays, array_shape), types = "F64") {
  types <- rep_len(types, length(arrays))
  ends <- cumsum(type_bytes[types] * lengths(arrays))
  header <- list()
  for (i in seq_along(arrays)) {
    header[[names(arrays)[i]]] <- list(
      dtype = types[[i]], shape = I(shapes[[i]]),
      data_offsets = I(c(if (i > 1L) ends[[i - 1L]] else 0, ends[[i]])))
  }
  text <- if (length(header)) to_json(header) else "{}"
  text <- paste0(text, strrep(" ", -nchar(text, "bytes") %% 8L))
  total <- 8 + nchar(text, "bytes") + sum(type_bytes[types] * lengths(arrays))
  write_file(path, total, function(connection) {
    writeBin(c(nchar(text, "bytes"), 0L), connection, size = 4L, endian = "little")
    writeBin(charToRaw(text), connection)
    for (i in seq_along(arrays)) write_numbers(arrays[[i]], types[[i]], connection)
  })
}

type_bytes <- c(F64 = 8, I32 = 4, U8 = 1, BOOL = 1)

array_shape <- function(x) if (is.null(dim(x))) length(x) else dim(x)

# In parts, as writeBin() takes no more than 2 GB.
write_numbers <- function(x, type, connection) {
  if (length(dim(x)) > 1L) x <- aperm(x)                           # row-major
  dim(x) <- NULL
  for (start in if (length(x)) seq(1, length(x), by = 2^24)) {
    part <- x[start:min(start + 2^24 - 1, length(x))]
    switch(type,
      F64 = writeBin(as.double(part), connection, endian = "little"),
      I32 = writeBin(as.integer(part), connection, size = 4L, endian = "little"),
      writeBin(as.raw(part), connection))
  }
}

write_lines <- function(path, lines) {
  text <- charToRaw(enc2utf8(paste0(lines, "\n", collapse = "")))
  write_file(path, length(text), function(connection) writeBin(text, connection))
}

# write(connection) writes so many bytes; the file gets its name once they are all there. What R
# merely warns of, such as a full disk, is an error here.
write_file <- function(path, bytes, write) {
  part <- paste0(path, ".part")
  on.exit(unlink(part, expand = FALSE))
  tryCatch({
    connection <- file(part, "wb")
    tryCatch(write(connection), finally = close(connection))
    if (file.size(part) != bytes) stop("not all of it could be written")
    file.rename(part, path)
  }, error = function(e) cannot_write(path, e), warning = function(w) cannot_write(path, w))
  invisible(path)
}

cannot_write <- function(path, condition) {
  stop("file '", path, "' cannot be written (", conditionMessage(condition), ")", call. = FALSE)
}

# Named lists as objects, I(vectors) as arrays, single numbers, text and logicals, NULL as null.
to_json <- function(x) {
  if (is.null(x)) return("null")
  if (is.list(x)) {
    fields <- sprintf("%s: %s", vapply(names(x), json_text, ""), vapply(x, to_json, ""))
    return(paste0("{", paste(fields, collapse = ", "), "}"))
  }
  values <- if (is.character(x)) vapply(x, json_text, "")
    else if (is.logical(x)) ifelse(x, "true", "false")
    else ifelse(x == round(x) & abs(x) < 2^53, sprintf("%.0f", x), sprintf("%.17g", x))
  if (inherits(x, "AsIs")) paste0("[", paste(values, collapse = ", "), "]") else values[[1L]]
}

json_text <- function(x) {
  x <- gsub("([\\\\\"])", "\\\\\\1", enc2utf8(x))
  paste0("\"", gsub("[[:cntrl:]]", " ", x), "\"")
}
