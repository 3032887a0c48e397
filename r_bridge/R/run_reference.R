# The R article "VAE and EMAE" (recipe `conv`) in R alone: trains its network, draws its five
# figures, and writes what happened as a trace (docs/reference/trace-format.md).
#
#   Rscript r_bridge/R/run_reference.R --engine base-r --data DIR --out DIR
#
# Draws come from R's own generator (base-r) or torch's (r-torch), seeded once, in the order of
# pyvae/training/loop.py, so that PyTorch can repeat the run from the seed.

reference_help <- 'Usage: Rscript run_reference.R [--OPTION VALUE | --OPTION=VALUE ...]

Trains the network of the R article "VAE and EMAE" in R alone, draws the article\'s figures and
writes a trace of each run, which "pyvae compare A B" holds against any other.

  --engine NAME         base-r (default; no packages) or r-torch (the package torch)
  --objective NAME      vae, emae or both (default)
  --data DIR            where train-images-idx3-ubyte lies, plain or .gz: in DIR/MNIST/raw,
                        DIR/MNIST, DIR/raw or DIR (default: the folder that PYVAE_DATA names)
  --out DIR             where to (default: article-r): the figures, and the traces in vae and emae
  --epochs N            passes over the images (default: 50)
  --steps N             end each run after N steps in all
  --batch-size N        images in a batch (default: 250); the last incomplete one is dropped
  --latent-dim N        latent dimensions (default: 30)
  --learning-rate X     Adam\'s step size (default: 0.001)
  --dtype TYPE          float32 or float64 (default: float32 for r-torch, float64 for base-r, which
                        has no other)
  --probe STEPS         base-r: steps to look into, stage by stage: 1, or 1,3-5, or all (default:
                        none); 0.6 GB a step at batch 250
  --seed N              of initial parameters, order of the images, dropout and noise (default: 2)
  --threads N           r-torch: threads of LibTorch (default: as many as it takes). base-r: R
                        cannot set the threads of its BLAS; set OPENBLAS_NUM_THREADS or
                        OMP_NUM_THREADS before R starts
  --help                this text
'

# Stops with "problem: expected E. Remedy.", as UserError in pyvae/errors.py.
user_error <- function(problem, expected = "", remedy = "") {
  message <- paste0(problem, if (nzchar(expected)) paste0(": expected ", expected),
                    if (nzchar(remedy)) paste0(". ", sentence(remedy)))
  stop(structure(class = c("user_error", "error", "condition"),
                 list(message = gsub("[[:space:]]+", " ", message), call = NULL)))
}

sentence <- function(text) {
  paste0(toupper(substr(text, 1L, 1L)), substring(text, 2L), if (!grepl("[.?!]$", text)) ".")
}

# Turns R's own error into one of the user's: R's words say what is wrong.
user_errors <- function(value, remedy = "") {
  tryCatch(value, error = function(e) user_error(conditionMessage(e), "", remedy))
}

# --- arguments ---------------------------------------------------------------------------------

reference_defaults <- list(engine = "base-r", objective = "both", data = NULL, out = "article-r",
                           epochs = "50", steps = NULL, batch_size = "250", latent_dim = "30",
                           learning_rate = "0.001", dtype = NULL, probe = "none", seed = "2",
                           threads = NULL)

option_name <- function(field) paste0("--", gsub("_", "-", field))

# Named list of texts, from `--name value` and `--name=value`.
read_arguments <- function(arguments) {
  options <- reference_defaults
  known <- stats::setNames(names(options), option_name(names(options)))
  while (length(arguments)) {
    name <- sub("=.*", "", arguments[[1L]])
    if (!name %in% names(known)) {
      user_error(paste0("unknown option '", arguments[[1L]], "'"),
                 paste("one of", paste(names(known), collapse = ", ")), "see --help")
    }
    joined <- name != arguments[[1L]]
    value <- if (joined) sub("^[^=]*=", "", arguments[[1L]]) else arguments[-1L][1L]
    if (is.na(value) || !nzchar(value) || (!joined && startsWith(value, "--"))) {
      user_error(paste("option", name, "has no value"), "", "see --help")
    }
    options[[known[[name]]]] <- value
    arguments <- arguments[-seq_len(if (joined) 1L else 2L)]
  }
  options
}

one_of <- function(options, field, choices) {
  given <- options[[field]]
  if (!given %in% choices) {
    user_error(paste0("unknown ", field, " '", given, "'"),
               paste("one of", paste(choices, collapse = ", ")))
  }
  given
}

whole_number <- function(options, field, least, most) {
  text <- options[[field]]
  value <- if (grepl("^[0-9]+$", text)) as.numeric(text) else NA
  rounded <- sprintf("%.0f", value) != sub("^0+(?=.)", "", text, perl = TRUE)  # beyond 2^53
  if (is.na(value) || rounded || value < least || value > most) {
    user_error(paste(option_name(field), text),
               sprintf("a whole number from %.0f to %.0f", least, most))
  }
  value
}

# The steps of --probe up to `most`, from 1: "1", "1,3-5", "all" or "none".
steps_to_probe <- function(text, most) {
  if (text == "none") return(integer())
  if (text == "all") return(seq_len(most))
  parts <- strsplit(text, ",", fixed = TRUE)[[1L]]
  if (!length(parts) || !all(grepl("^[1-9][0-9]{0,8}(-[1-9][0-9]{0,8})?$", parts))) {
    user_error(paste("--probe", text), "steps such as 1, or 1,3-5, or all, or none")
  }
  ends <- lapply(strsplit(parts, "-", fixed = TRUE), as.numeric)
  steps <- sort(unique(unlist(lapply(ends, function(end) seq(end[[1L]], end[[length(end)]])))))
  if (steps[[length(steps)]] > most) {
    user_error(paste("--probe", text), paste("steps from 1 to", most))
  }
  steps
}

# Arguments to what is to be done: engine, objectives, data, out, threads, settings.
read_options <- function(arguments) {
  options <- read_arguments(arguments)
  engine <- one_of(options, "engine", c("base-r", "r-torch"))
  objective <- one_of(options, "objective", c("vae", "emae", "both"))
  if (is.null(options$dtype)) options$dtype <- if (engine == "base-r") "float64" else "float32"
  dtype <- one_of(options, "dtype", c("float32", "float64"))
  if (engine == "base-r" && dtype != "float64") {
    user_error(paste("--dtype", dtype, "with --engine base-r, which computes in float64"), "",
               "leave out --dtype, or use --engine r-torch")
  }
  if (engine == "r-torch" && options$probe != "none") {
    user_error("--probe with --engine r-torch", "",
               "use --engine base-r, or pyvae trace --engine r-torch --probe")
  }
  largest <- .Machine$integer.max
  if (is.null(options$data)) options$data <- Sys.getenv("PYVAE_DATA")
  if (!nzchar(options$data)) {
    user_error("neither --data nor PYVAE_DATA is set", "", "give the folder of MNIST with --data")
  }
  rate <- suppressWarnings(as.numeric(options$learning_rate))
  if (!is.finite(rate) || rate <= 0) {
    user_error(paste("--learning-rate", options$learning_rate), "a number above 0")
  }
  settings <- list(
    objective = NULL,
    epochs = whole_number(options, "epochs", 1, largest),
    steps = if (!is.null(options$steps)) whole_number(options, "steps", 1, largest),
    batch_size = whole_number(options, "batch_size", 1, largest),
    latent_dim = whole_number(options, "latent_dim", 1, 10000),
    learning_rate = rate,
    dtype = dtype,
    seed = whole_number(options, "seed", 0, if (engine == "base-r") largest else 2^53),
    rng = if (engine == "base-r") "r" else "torch")
  list(engine = engine, data = options$data, out = options$out, settings = settings,
       probe = options$probe,
       objectives = if (objective == "both") c("vae", "emae") else objective,
       threads = if (!is.null(options$threads)) whole_number(options, "threads", 1, 1024))
}

# --- the engine --------------------------------------------------------------------------------

# This file's path; Rscript writes spaces in it as ~+~.
reference_file <- gsub("~+~", " ", fixed = TRUE, sub(
  "^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))

source_r <- function(names, folder = ".") {
  for (name in names) {
    file <- file.path(dirname(reference_file), folder, paste0(name, ".R"))
    source(file, local = globalenv())
  }
}

# Makes start_session() and the other functions of a session known; returns the environment that
# the numbers depend on, as text.
open_engine <- function(engine, threads) {
  about <- list(R = as.character(getRversion()), blas = unname(extSoftVersion()["BLAS"]),
                platform = R.version$platform)
  c(about, if (engine == "base-r") open_base_r(threads) else open_r_torch(threads))
}

open_base_r <- function(threads) {
  # else R looks through every operand of a matrix product for NaN before it multiplies
  options(matprod = "blas")
  set <- Sys.getenv(c("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"))
  set <- set[nzchar(set)]
  used <- if (length(set)) set[[1L]] else as.character(parallel::detectCores())
  if (!is.null(threads) && used != threads) {
    user_error(sprintf(paste("--threads %.0f with --engine base-r: R's BLAS uses %s, and R cannot",
                             "change that"), threads, used),
               "", sprintf("set OPENBLAS_NUM_THREADS=%.0f and OMP_NUM_THREADS=%.0f before R starts",
                           threads, threads))
  }
  source_r(c("maps", "conv2d", "max_pool2d", "activations", "batch_norm", "softmax",
             "reparameterise"), "layers")
  source_r("objectives", "base_r")
  source_r(c("likelihoods", "divergences", "layers"), "layers")
  source_r(c("stages", "conv"), "network")
  source_r(c("network", "random", "adam", "session"), "base_r")
  start_session <<- function(settings) {
    conv_session(settings$objective, settings$learning_rate, settings$latent_dim, settings$seed,
                 chunk = 25L)
  }
  list(threads = used)
}

open_r_torch <- function(threads) {
  Sys.setenv(TORCH_INSTALL = "0",            # torch offers to download LibTorch when it is loaded
             TORCH_VERIFY_LOAD = "FALSE")    # and starts a second R to see whether it can
  source_r("about", "torch")
  utils::capture.output(about <- torch_about())
  get_torch <- 'in R: install.packages("torch"); torch::install_torch()'
  or_base_r <- function(...) paste0(..., "; or use --engine base-r")
  if (!nzchar(about$version)) user_error("R has no package torch", "", or_base_r(get_torch))
  if (numeric_version(about$version) < "0.13") {
    user_error(paste("R torch", about$version, "is too old"), "0.13 or newer",
               or_base_r(get_torch))
  }
  if (nzchar(about$failure)) {
    where <- if (nzchar(about$folder)) {
      paste("and the LibTorch in", about$folder, "do not work together")
    } else {
      "cannot be loaded"
    }
    user_error(paste0("R torch ", about$version, " ", where, " (R: ", about$failure, ")"),
               "", or_base_r("install the LibTorch that was made for this R torch, in R: ",
                             "torch::install_torch(reinstall = TRUE)"))
  }
  if (!nzchar(about$libtorch)) {
    user_error(paste0("R torch ", about$version, " has no LibTorch in ", about$folder), "",
               or_base_r("in R: torch::install_torch()"))
  }
  source_r(c("stages", "conv"), "network")
  source_r(c("layers", "random", "network", "session"), "torch")
  start_session <<- function(settings) {
    conv_session(settings$objective, settings$learning_rate, settings$latent_dim, settings$seed,
                 dtype = settings$dtype)
  }
  if (!is.null(threads)) torch_set_num_threads(as.integer(threads))
  list(threads = as.character(torch_get_num_threads()), `R torch` = about$version,
       LibTorch = about$libtorch)
}

# --- the run -----------------------------------------------------------------------------------

# Trains with one objective; draws come in the order of pyvae/training/loop.py. Results go into the
# environment `run` as they come, so that those of a run that fails are there. on_step() is called
# with the number of the step.
train_reference <- function(run, pixels, settings, on_step) {
  images <- ncol(pixels)
  steps_per_epoch <- images %/% settings$batch_size
  session <- start_session(settings)
  run$losses <- list()
  run$probes <- list()
  for (step in seq_len(run$steps)) {
    place <- (step - 1) %% steps_per_epoch
    if (place == 0) order <- session_order(session, images)
    x <- idx_batch(pixels, order[place * settings$batch_size + seq_len(settings$batch_size)])
    if (step %in% run$probed) {
      seen <- probed_step(session, x)
      run$probes[[as.character(step)]] <- seen$probe
      run$losses[[step]] <- finite_losses(seen$losses, step)
    } else {
      run$losses[[step]] <- finite_losses(session_step(session, x), step)
    }
    on_step(step)
  }

  # The article draws its latent means from the last batch, with dropout still on.
  run$latent_means <- list(training = session_latent_means(session, x, training = TRUE),
                           evaluation = session_latent_means(session, x, training = FALSE))
  run$samples <- session_decode(session, session_latents(session, 16L))
  run$parameters <- session_parameters(session)
}

# A step that records every stage: list(losses, probe), the probe as in docs/reference/trace-format.md.
probed_step <- function(session, x) {
  named <- function(kind, values) stats::setNames(values, paste0(kind, "/", names(values)))
  draws <- session_draw(session, nrow(x))
  start <- session_parameters(session)
  parts <- lapply(chunks(nrow(x), session$chunk), function(rows) {
    drawn <- lapply(draws, function(draw) draw[rows, , drop = FALSE])
    session_probe_part(session, x[rows, , drop = FALSE], drawn, first = rows[[1L]] == 1L)
  })
  end <- session_probe_end(session)
  # the parts have the image last, and the other axes the other way round than torch
  together <- function(kind) {
    stages <- names(parts[[1L]][[kind]])
    values <- lapply(stages, function(stage) {
      found <- lapply(parts, function(part) part[[kind]][[stage]])
      shape <- dim(found[[1L]])
      aperm(array(unlist(found), c(shape[-length(shape)], nrow(x))))
    })
    named(kind, stats::setNames(values, stages))
  }
  state <- session_state(session)
  terms <- stats::setNames(as.list(end$losses), c("total", "reconstruction", "regulariser"))
  probe <- c(named("start", start), together("forward"), named("forward", terms),
             together("gradient"), named("gradient", end$gradients),
             named("moment1", state$moment1), named("moment2", state$moment2),
             named("parameter", state$parameter))
  list(losses = end$losses, probe = probe)
}

# `losses` is evaluated here: where training diverges, torch refuses pixels that are no
# probabilities, and base R goes on computing.
finite_losses <- function(losses, step) {
  diverged <- function() {
    user_error(sprintf("training diverged in step %.0f: the loss is not a finite number", step),
               "", "try a smaller --learning-rate")
  }
  losses <- tryCatch(losses, error = function(e) {
    if (grepl("between 0 and 1", conditionMessage(e))) diverged() else stop(e)
  })
  if (!all(is.finite(losses))) diverged()
  losses
}

# Writes the trace: all of it, or of a run with a problem the losses until then.
keep_run <- function(run, trace, problem) {
  steps <- length(run$losses)
  trace$losses <- run$losses <- unname(do.call(rbind, run$losses)) # steps x 3
  trace$epochs <- run$epochs <- run$epoch(seq_len(steps))
  trace$probes <- run$probes[as.integer(names(run$probes)) <= steps]
  if (is.null(problem)) trace <- c(trace, mget(c("parameters", "latent_means", "samples"), run))
  if (steps) user_errors(do.call(write_trace, trace))
  if (is.null(problem)) return(invisible(run))
  if (steps) log_line("the losses until then are in ", trace$folder)
  stop(problem)
}

# --- the log of a run --------------------------------------------------------------------------

log_line <- function(...) {
  cat(..., "\n", sep = "")
  flush(stdout())
}

number <- function(x, digits) formatC(x, format = "f", digits = digits, big.mark = ",")

counted <- function(n, thing) paste0(number(n, 0), " ", thing, if (n != 1) "s")

duration <- function(seconds) {
  seconds <- round(seconds)
  sprintf("%.0f:%02.0f:%02.0f", seconds %/% 3600, seconds %/% 60 %% 60, seconds %% 60)
}

wall_clock <- function() proc.time()[["elapsed"]]

# Seconds since the first call. R has no other clock than the wall's, which may be set back: only
# what it goes forwards counts.
now <- local({
  last <- NULL
  passed <- 0
  function() {
    read <- wall_clock()
    if (!is.null(last)) passed <<- passed + max(0, read - last)
    last <<- read
    passed
  }
})

# Logs after every epoch what the article prints, and every minute how far the run is.
# steps_to_come: of the runs after this one.
progress_logger <- function(run, steps_per_epoch, steps_to_come) {
  began <- epoch_began <- said <- now()
  function(step) {
    left <- duration((now() - began) / step * (run$steps - step + steps_to_come))
    if (step %% steps_per_epoch == 0 || step == run$steps) {
      first <- (step - 1) %/% steps_per_epoch * steps_per_epoch + 1
      batches <- step - first + 1
      total <- sum(vapply(run$losses[first:step], `[[`, 0, 1L))
      log_line("  epoch ", run$epoch(step), " of ", run$epoch(run$steps), ": ",
               number(total, 2), " nats, summed over its ", batches,
               if (batches == 1) " batch" else " batches", " (as the article prints it); ",
               number(total / (batches * run$batch_size), 3), " nats per image; ",
               number(now() - epoch_began, 0), " s, ", left, " left")
      epoch_began <<- said <<- now()
    } else if (now() - said > 60) {
      log_line("  step ", number(step, 0), " of ", number(run$steps, 0), ", ", left, " left")
      said <<- now()
    }
  }
}

# --- from beginning to end ---------------------------------------------------------------------

run_reference <- function(arguments) {
  if ("--help" %in% arguments) return(cat(reference_help))
  if (getRversion() < "4.0.0") {
    user_error(paste("this is R", getRversion()), "4.0 or newer", "update R")
  }
  options <- read_options(arguments)
  source_r(c("idx", "write_trace", "article_figures"), file.path("..", "rpackage", "R"))
  environment <- open_engine(options$engine, options$threads)
  file <- user_errors(find_idx_images(options$data, "MNIST"), "choose another --data")
  pixels <- user_errors(read_idx_images(file))
  images <- ncol(pixels)
  settings <- options$settings
  if (images < settings$batch_size) {
    user_error(sprintf("%.0f images are fewer than one batch of %.0f", images,
                       settings$batch_size),
               "", paste0("choose --batch-size ", images, " or less, or give more images"))
  }
  steps_per_epoch <- images %/% settings$batch_size
  steps <- min(settings$epochs * steps_per_epoch, settings$steps)
  probed <- steps_to_probe(options$probe, steps)
  check_writable(options$out, options$objectives)

  kind <- picture_kind()
  if (kind == "pdf") log_line("this R cannot write PNG: the figures will be PDF")
  title <- sprintf("MNIST, batch %.0f, %s, %s, %s", settings$batch_size, counted(steps, "step"),
                   options$engine, settings$dtype)
  runs <- list()
  for (objective in options$objectives) {
    settings$objective <- objective
    log_line(article_styles[[objective]]$title, ": ", title,
             sprintf(", seed %.0f", settings$seed), ", threads ", environment$threads)
    run <- new.env()
    run$objective <- objective
    run$batch_size <- settings$batch_size
    run$steps <- steps
    run$probed <- probed
    run$epoch <- function(step) (step - 1) %/% steps_per_epoch + 1
    to_come <- steps * (length(options$objectives) - length(runs) - 1)
    on_step <- progress_logger(run, steps_per_epoch, to_come)
    problem <- tryCatch({
      train_reference(run, pixels, settings, on_step)
      NULL
    }, error = identity, interrupt = identity)
    keep_run(run, list(folder = file.path(options$out, objective), engine = options$engine,
                       recipe = "conv", settings = settings, environment = environment,
                       data = list(name = "mnist", images = images,
                                   source = paste("file", file))), problem)
    user_errors(article_run_figures(options$out, run, kind))
    runs[[objective]] <- run
  }
  user_errors(article_loss_figure(options$out, runs, title, kind))
  log_line("written: ", options$out)
}

# Called before the first step, not after the last.
check_writable <- function(folder, objectives) {
  dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  probe <- tempfile(".write.", folder)
  on.exit(unlink(probe, expand = FALSE))
  within <- file.path(folder, objectives)
  files <- c(within[file.exists(within) & !dir.exists(within)],
             if (!dir.exists(folder) || !suppressWarnings(file.create(probe))) folder)
  if (length(files)) {
    user_error(paste0("output folder '", files[[1L]], "' cannot be written"), "",
               "choose another with --out")
  }
}

if (length(reference_file)) {
  complain <- function(message, status) {
    cat("run_reference: ", message, "\n", file = stderr(), sep = "")
    quit(status = status, save = "no")
  }
  tryCatch(run_reference(commandArgs(TRUE)),
           user_error = function(e) complain(conditionMessage(e), 2L),
           interrupt = function(e) complain("interrupted", 130L))
}
