# Writes a trace as docs/trace-format.md describes it, in base R alone, so that a run made in R
# on any machine can be held against another with `pyvae compare TRACE_A TRACE_B`.
#
#   write_trace("my-run", engine = "my-r", recipe = "conv", settings = list(...),
#               data = list(name = "mnist", images = 60000), losses = losses, ...)
#
# Arrays have the same index order as in Python: w[2, 1, 3, 3] in R is w[1, 0, 2, 2] there.

# settings      list(objective, epochs, steps, batch_size, latent_dim, learning_rate, dtype, seed)
# data          list(name, images)
# environment   list of text: versions and what else the numbers depend on
# losses        steps x 3: total, reconstruction, regulariser, sums over the batch in nats
# epochs        the epoch of each step, from 1
# parameters    named list of arrays, after the last step
# latent_means  list(training, evaluation): images x dimensions, of the last batch
# samples       16 x 784, decoded draws from N(0, I), or NULL
# probes        list of probes named by step, such as list("1" = list("forward/input" = x, ...))
write_trace <- function(folder, engine, recipe, settings, data, losses, epochs, parameters,
                        latent_means, samples = NULL, probes = list(), environment = list(),
                        mode = "free") {
  dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  exact <- function(x) sprintf("%.17g", x)
  rows <- paste(engine, settings$objective, epochs, seq_len(nrow(losses)), exact(losses[, 1L]),
                exact(losses[, 2L]), exact(losses[, 3L]),
                exact(losses[, 1L] / settings$batch_size), sep = ",")
  head <- "engine,objective,epoch,step,total,reconstruction,regulariser,nats_per_image"
  writeLines(c(head, rows), file.path(folder, "history.csv"))
  write_safetensors(file.path(folder, "parameters.safetensors"), parameters)
  write_safetensors(file.path(folder, "latents.safetensors"),
                    c(latent_means, if (!is.null(samples)) list(samples = samples)))
  if (length(probes)) dir.create(file.path(folder, "probes"), showWarnings = FALSE)
  for (step in names(probes)) {
    name <- sprintf("step-%06d.safetensors", as.integer(step))
    write_safetensors(file.path(folder, "probes", name), probes[[step]])
  }
  about <- list(format = 2L, engine = engine, recipe = recipe, settings = settings, data = data,
                environment = environment, mode = mode,
                probes = I(as.integer(names(probes))), steps = nrow(losses), complete = TRUE)
  writeLines(to_json(about), file.path(folder, "trace.json"))
  invisible(folder)
}

# safetensors: the header's length (8 bytes, little-endian), the header (JSON), the numbers.
# https://github.com/huggingface/safetensors, "Format". Numbers are written as doubles in
# row-major order.
write_safetensors <- function(path, arrays) {
  shapes <- lapply(arrays, function(x) if (is.null(dim(x))) length(x) else dim(x))
  ends <- cumsum(8 * vapply(arrays, length, 0L))
  header <- list()
  for (i in seq_along(arrays)) {
    header[[names(arrays)[i]]] <- list(
      dtype = "F64", shape = I(shapes[[i]]),
      data_offsets = I(c(if (i > 1L) ends[[i - 1L]] else 0, ends[[i]])))
  }
  text <- if (length(header)) to_json(header) else "{}"
  text <- paste0(text, strrep(" ", -nchar(text, "bytes") %% 8L))
  connection <- file(path, "wb")
  on.exit(close(connection))
  writeBin(c(nchar(text, "bytes"), 0L), connection, size = 4L, endian = "little")
  writeBin(charToRaw(text), connection)
  for (x in arrays) {
    if (length(dim(x)) > 1L) x <- aperm(x)                         # row-major
    writeBin(as.double(x), connection, endian = "little")
  }
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
