#' Read a trace
#'
#' A trace records one run of one engine. `pyvae trace`, `pyvae train`, `pyvae compare` and
#' [write_trace()] write traces; `docs/reference/trace-format.md` of the project describes their format. Works
#' without Python; numbers are exact to the last bit.
#'
#' @param folder A folder with `trace.json`.
#' @param probes The steps to read the probes of; by default none, as probes are large.
#' @returns A list of class `pyvae_trace` with the arguments of [write_trace()]: `engine`, `recipe`,
#'   `settings`, `data`, `losses` (steps x terms), `epochs`, `parameters`, `latent_means`,
#'   `samples`, `probes` (named by step), `environment`, `mode`, `start`; and `complete`, and `probed` (the
#'   steps that have probes). The order of indices is that of Python.
#' @export
#' @examples
#' folder <- tempfile()
#' losses <- cbind(total = c(3, 2), reconstruction = c(2, 1.5), regulariser = c(1, 0.5))
#' settings <- list(objective = "vae", epochs = 1, steps = 2, batch_size = 10, latent_dim = 2,
#'                  learning_rate = 0.001, dtype = "float64", seed = 2, rng = "injected")
#' write_trace(folder, "my-r", "conv", settings, list(name = "mine", images = 20), losses,
#'             epochs = c(1, 1), parameters = list(w = matrix(1:6, 2)),
#'             latent_means = list(training = diag(2), evaluation = diag(2)))
#' trace <- read_trace(folder)
#' trace
#' as.data.frame(trace)
read_trace <- function(folder, probes = NULL) {
  here <- environment()
  unreadable <- function(why) {
    abort(c("Trace {.file {folder}} cannot be read.", "x" = "{why}"), here)
  }
  if (!is.character(folder) || length(folder) != 1L || is.na(folder)) {
    abort(c("{.arg folder} must be a path.", "x" = "It is {in_words(folder)}."), here)
  }
  about <- read_trace_json(folder, unreadable)
  history <- read_trace_history(folder, about$steps, unreadable)
  read_arrays <- function(file) {
    path <- file.path(folder, file)
    if (!file.exists(path)) unreadable(paste0("It has no ", file, "."))
    tryCatch(read_safetensors(path), error = function(e) unreadable(
      paste0("Its ", file, " is damaged: ", first_line(conditionMessage(e)))))
  }
  latents <- if (about$complete) read_arrays("latents.safetensors")
  probed <- as.integer(unlist(about$probes))
  absent <- setdiff(probes, probed)
  if (length(absent)) unreadable(paste0("Step ", absent[[1L]], " was not probed."))
  seen <- lapply(probes, function(step) {
    read_arrays(file.path("probes", sprintf("step-%06d.safetensors", as.integer(step))))
  })
  structure(list(
    engine = about$engine, recipe = about$recipe, settings = about$settings, data = about$data,
    losses = history$losses, epochs = history$epochs,
    parameters = if (about$complete) read_arrays("parameters.safetensors"),
    latent_means = latents[setdiff(names(latents), "samples")], samples = latents$samples,
    probes = stats::setNames(seen, probes), environment = about$environment %||% list(),
    mode = about$mode %||% "free", start = about$start %||% list(), complete = about$complete, probed = probed),
    class = "pyvae_trace")
}

# The fields of trace.json. `unreadable` stops with a reason.
read_trace_json <- function(folder, unreadable) {
  path <- file.path(folder, "trace.json")
  if (!dir.exists(folder)) unreadable("There is no such folder.")
  if (!file.exists(path)) unreadable("It has no trace.json.")
  about <- tryCatch(jsonlite::fromJSON(path, simplifyVector = FALSE),
                    error = function(e) unreadable("Its trace.json is not JSON."))
  if (is_number(about$format) && about$format == program_format) {
    unreadable("It is the trace of a program: read_program_trace() reads it.")
  }
  fields <- c("format", "engine", "recipe", "settings", "data", "steps", "complete")
  absent <- setdiff(fields, names(about))
  if (length(absent)) unreadable(paste0("Its trace.json has no ", absent[[1L]], "."))
  if (!is_number(about$format) || about$format > trace_format) {
    unreadable(paste0("It has format ", format(about$format), "; this pyvae reads 1 to ",
                      trace_format, "."))
  }
  about
}

# list(losses, epochs) of history.csv.
read_trace_history <- function(folder, steps, unreadable) {
  history <- tryCatch(
    utils::read.csv(file.path(folder, "history.csv"), colClasses = "character"),
    error = function(e) unreadable("Its history.csv cannot be read."),
    warning = function(w) unreadable("Its history.csv cannot be read."))
  terms <- setdiff(names(history), c("engine", "objective", "epoch", "step", "nats_per_image",
                                     "loss"))
  if (!all(c("epoch", trace_terms) %in% names(history))) {
    unreadable(paste0("Its history.csv lacks one of epoch, ", paste(trace_terms, collapse = ", "),
                      "."))
  }
  if (nrow(history) < steps) {
    unreadable(sprintf("Its history.csv has %d of %d steps.", nrow(history), steps))
  }
  terms <- c(trace_terms, setdiff(terms, trace_terms))
  losses <- matrix(vapply(history[terms], exact_numbers, numeric(nrow(history))), nrow(history),
                   dimnames = list(NULL, terms))
  text <- as.matrix(history[terms])
  bad <- which(is.na(losses) & !tolower(text) %in% c("nan", "na"))
  if (length(bad)) unreadable(paste0("Its history.csv has '", text[[bad[[1L]]]], "' for a loss."))
  list(losses = losses, epochs = as.integer(history$epoch))
}

trace_terms <- c("total", "reconstruction", "regulariser")

# The doubles nearest to decimal numbers. as.numeric() is off by a bit for one in about 15,000; this
# takes, of its result and the two neighbours, the one with the nearest exact digits.
exact_numbers <- function(text) {
  x <- suppressWarnings(as.numeric(text))
  look <- which(is.finite(x) & x != 0 & grepl("^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$", text))
  if (!length(look)) return(x)
  near <- x[look]
  wanted <- decimal_digits(text[look])
  step <- 2^(floor(log2(abs(near))) - 52)
  candidates <- cbind(near, near - step, near + step)
  distance <- apply(candidates, 2L, function(candidate) {
    candidate[!is.finite(candidate)] <- 0                          # beyond the largest double
    found <- decimal_digits(sprintf("%.30e", candidate))
    gap <- (found$high - wanted$high) * 1e16 + (found$low - wanted$low)
    ifelse(found$exponent == wanted$exponent, abs(gap), Inf)
  })
  distance <- matrix(distance, ncol = 3L)
  chosen <- max.col(-distance, ties.method = "first")
  chosen[!is.finite(distance[, 1L])] <- 1L
  x[look] <- candidates[cbind(seq_along(near), chosen)]
  x
}

# The first 15 significant digits of decimal numbers, the next 16, and the exponent of the first.
decimal_digits <- function(text) {
  text <- sub("^[-+]", "", tolower(text))
  mantissa <- sub("e.*", "", text)
  exponent <- as.numeric(sub("^[^e]*e?", "", paste0(text, ifelse(grepl("e", text), "", "e0"))))
  whole <- sub("[.].*", "", mantissa)
  digits <- sub(".", "", mantissa, fixed = TRUE)
  zeros <- nchar(sub("^(0*).*", "\\1", digits))
  digits <- substr(paste0(substring(digits, zeros + 1L), strrep("0", 31L)), 1L, 31L)
  list(high = as.numeric(substr(digits, 1L, 15L)), low = as.numeric(substr(digits, 16L, 31L)),
       exponent = exponent + nchar(whole) - 1L - zeros)
}

#' @rdname read_trace
#' @param x A trace.
#' @param ... Not used; other arguments are an error.
#' @export
print.pyvae_trace <- function(x, ...) {
  check_no_more(rlang::exprs(...), "print", character())
  settings <- x$settings
  cat("Trace of ", printable(x$engine), ": recipe ", printable(x$recipe), ", objective ",
      printable(settings$objective), ", ",
      counted(nrow(x$losses), "step"), " of ", settings$batch_size, ", ", settings$dtype, ", seed ",
      format(settings$seed), if (!x$complete) ", interrupted", "\n", sep = "")
  last <- x$losses[nrow(x$losses), ]
  if (length(last)) {
    cat("  last step: ", paste(names(last), format(last, digits = 8L, trim = TRUE),
                               collapse = ", "), "\n", sep = "")
  }
  invisible(x)
}

#' @rdname read_trace
#' @param row.names,optional As in [as.data.frame()]; `optional` is not used.
#' @export
as.data.frame.pyvae_trace <- function(x, row.names = NULL, optional = FALSE, ...) {
  check_no_more(rlang::exprs(...), "as.data.frame", c("row.names", "optional"),
                but = "stringsAsFactors")
  table <- data.frame(engine = rep(x$engine, nrow(x$losses)),
                      objective = rep(x$settings$objective, nrow(x$losses)), epoch = x$epochs,
                      step = seq_len(nrow(x$losses)), x$losses, stringsAsFactors = FALSE)
  if (!is.null(row.names)) row.names(table) <- row.names
  table
}
