#' Record a model of torch or Keras while it trains, or is used
#'
#' Writes down what the next steps compute: the network as it is executed, each value and gradient,
#' the optimiser's settings and state. `pyvae compare` holds the trace against that of another
#' program, in R or in Python, and says where they part first. The model and the loop stay as they
#' are, and the numbers that they compute as well. The recording ends by itself.
#'
#' @param model A model: an `nn_module` of the package torch, by the name of the variable that the
#'   training loop calls; or several, by name: `list(generator = g, discriminator = d)`.
#'   (A model that is called otherwise is recorded as well, if what `record()` returns is used.)
#'   Or a model of the package keras3.
#' @param optimizer Its optimizer, or a list of several (`model$optimizer` of a model of Keras that
#'   is compiled); `NULL` of a model that is not trained: its forward passes are recorded, with or
#'   without `with_no_grad()`.
#' @param folder Where to write the trace; a folder that is new or empty.
#' @param steps How many steps to record, of each optimizer; `NULL` for all. A step is one call of
#'   the optimizer's `step()`; without an optimizer, a call of the model, with what is computed from
#'   it until the next one.
#' @param every Record each step, or every second, ...: the first, and then each so many.
#' @param start A trace whose initial parameters and buffers the model is to start from, such as one
#'   that Python recorded. Where names say nothing, they are taken in their order, if all shapes are
#'   alike.
#' @param names For `start` and `replay`: a CSV file with the columns a and b, such as `names.csv`,
#'   which `pyvae compare` writes. It says what a parameter, a layer, or a module with all that is
#'   in it, is called on the other side.
#' @param replay A trace whose dropout masks and random draws are to be used in the recorded steps.
#' @param overwrite Whether a trace that the folder holds may be replaced.
#' @returns The model, or the list of models, invisibly.
#' @details
#' Of a training only calls with gradients enabled are recorded, not a validation within
#' `with_no_grad()`. Forward passes are recorded until as many are there, until [stop_recording()],
#' or to the end of the session. Of a
#' network that is called beside the model and not trained, such as a teacher, the parameters are
#' recorded where they have changed. While a step is recorded, torch's functions are wrapped; they
#' are put back afterwards. Not seen are a
#' module that is neither registered in the model nor one of torch's, and arithmetic in C++.
#'
#' A model of Keras has to be one of its torch backend (`keras3::use_backend("torch")`), and the Python
#' that it runs in has to have this project's package. Python's recorder records it, and the trace is as
#' Python writes it: classes and axes count from 0.
#'
#' The trace needs room: for each step about the parameters four to six times, and each value and
#' its gradient once; how much it is in all is said with the first step. When the disk is full the
#' recording ends, and the training goes on.
#'
#' @seealso [record_script()] for a script that is not to be changed, [luz_callback_record()],
#'   [stop_recording()].
#' @export
#' @examples
#' \dontrun{
#' library(torch)
#' model <- nn_sequential(nn_linear(4, 8), nn_relu(), nn_linear(8, 3))
#' optimizer <- optim_sgd(model$parameters, lr = 0.1)
#' record(model, optimizer, "r", steps = 3)
#' for (step in 1:10) {
#'   optimizer$zero_grad()
#'   y <- torch_randint(1, 4, 16, dtype = torch_long())
#'   loss <- nnf_cross_entropy(model(torch_randn(16, 4)), y)
#'   loss$backward()
#'   optimizer$step()
#' }
#'
#' # of Keras
#' library(keras3)
#' use_backend("torch")
#' model <- keras_model_sequential(input_shape = 4) |> layer_dense(3)
#' model |> compile("sgd", loss_sparse_categorical_crossentropy(from_logits = TRUE))
#' record(model, model$optimizer, "keras")
#' model |> fit(as.matrix(iris[1:4]), as.integer(iris$Species) - 1L)
#' }
record <- function(model, optimizer, folder, steps = 3, every = 1, start = NULL, names = NULL,
                   replay = NULL, overwrite = FALSE) {
  name <- substitute(model)
  keras <- is_python(model)
  if (!keras) check_torch()
  settings <- recording_settings(steps, every, start, names, replay, overwrite)
  if (keras) return(record_keras(model, optimizer, folder, settings))
  models <- start_recording(model, optimizer, folder, settings)$models
  several <- is.list(model)
  asked <- if (!several) list(name) else if (is.call(name)) as.list(name)[-1L]
  for (i in seq_along(asked)) put_back(asked[[i]], models[[i]], parent.frame())
  invisible(if (several) models else models[[1L]])
}

# The user's own variable is a function of its own: it is exchanged for the wrapped one.
put_back <- function(name, model, where) {
  if (!is.symbol(name)) return(invisible())
  name <- as.character(name)
  if (exists(name, envir = where, inherits = FALSE)) assign(name, model, envir = where)
}

# The settings of a recording, checked.
recording_settings <- function(steps = 3, every = 1, start = NULL, names = NULL, replay = NULL,
                               overwrite = FALSE, call = rlang::caller_env()) {
  force(call)
  list(steps = if (is.null(steps)) Inf else check_whole(steps, "steps", call = call),
       every = check_whole(every, "every", call = call),
       start = if (!is.null(start)) check_trace(start, "start", call),
       names = if (!is.null(names)) check_map(names, call), names_file = names,
       replay = if (!is.null(replay)) check_trace(replay, "replay", call),
       overwrite = check_flag(overwrite, "overwrite", call))
}

# Checks the rest, then begins. Returns the recording.
start_recording <- function(model, optimizer, folder, settings, program = script_file(),
                            call = rlang::caller_env(), whole = NULL) {
  force(call)
  models <- if (is.null(whole)) check_models(model, call)
  optimisers <- if (is.null(optimizer)) list() else check_optimisers(models, optimizer, call)
  if (is.null(optimizer)) check_passes(models, call)
  for (one in models) check_new(one, call)
  check_new_folder(folder, settings$overwrite, call)
  for (other in session$recordings) leave_unfinished(other)
  r <- new_recording(folder, settings, optimisers)
  r$program <- program
  enter_torch()
  if (r$passes) session$passes <- r
  r$whole <- whole                    # of networks that are found while the program runs
  r$start <- settings$start
  r$map <- settings$names
  r$there <- c(stages_in(settings$start$about), stages_in(settings$replay$about))
  r$call <- call
  session$recordings <- c(session$recordings, list(r))
  tryCatch({
    paths <- names(models) %||% rep("", length(models))
    r$models <- Map(function(one, path) take_module(r, one, path), models, paths)
    names(r$models) <- names(models)
    r$tensors <- named_tensors(r$models)
    r$parameters <- parameter_names(r$models)
    if (length(r$models)) take_names(r)
    if (length(r$models) && !is.null(settings$start)) load_start(r, settings$start, call)
    r$about_parameters <- describe_parameters(r)
    r$environment <- recorded_environment()
    r$undo <- lapply(optimisers, function(optimiser) wrap_optimiser(r, optimiser))
    begin_step(r)
  }, error = function(e) {
    end_recording(r)
    rlang::cnd_signal(e)
  })
  reg.finalizer(r, say_if_nothing, onexit = TRUE)
  r
}

# A recording of another model, of a loop that was broken off.
leave_unfinished <- function(r) {
  cli::cli_inform(c("The recording to {.file {r$folder}} was not finished: it ends here.",
                    "i" = "{.code record(list(...), ...)} records several models at once."))
  end_recording(r, if (length(r$steps)) "" else "not finished")
}

# Says how much will be written, before the first step is.
say_room <- function(r, arrays) {
  if (isTRUE(r$said)) return(invisible())
  r$said <- TRUE
  sizes <- vapply(arrays, function(x) {
    if (is.numeric(x)) 8 else as.numeric(x$numel()) * x$element_size()
  }, 0)
  size <- sum(sizes) + sum(nchar(names(arrays)) + 60)
  many <- if (is.finite(r$limit)) counted(all_wanted(r), "step") else "all steps"
  if (r$passes) many <- passes_in_words(r$limit)
  room <- size * (if (is.finite(r$limit)) all_wanted(r) else 1)
  much <- paste0(in_bytes(room), if (!is.finite(r$limit)) " a step")
  cli::cli_inform("Recording {many} to {.file {r$folder}}: about {much}.")
}

# 15200000 is 15.2 MB.
in_bytes <- function(size) {
  unit <- if (size >= 1e9) 3L else if (size >= 1e6) 2L else 1L
  paste(format(round(size / 1000^unit, 1), nsmall = 1, big.mark = ","),
        c("kB", "MB", "GB")[[unit]])
}

say_if_nothing <- function(r) {
  if (r$passes && is_running(r)) end_recording(r)
  if (length(r$steps) || nzchar(r$ended)) return(invisible())
  why <- if (r$passes) "the model was not called" else "the optimizer's step() was not called"
  message("Nothing was recorded to '", r$folder, "': ", why, ".")
  leave_nothing(r)
}

leave_nothing <- function(r) {
  for (folder in c(file.path(r$folder, "steps"), r$folder)) {
    if (!length(list.files(folder, all.files = TRUE, no.. = TRUE))) {
      unlink(folder, recursive = TRUE, expand = FALSE)
    }
  }
}

#' End a recording before its last step
#'
#' A recording ends by itself after its last step. Where a training loop was broken off, this ends
#' it: what was recorded so far is the whole trace.
#'
#' @returns The folders of the recordings that were under way, invisibly.
#' @seealso [record()]
#' @export
#' @examples
#' stop_recording()
stop_recording <- function() {
  running <- session$recordings
  for (r in running) {
    r$limit <- Inf
    end_recording(r, if (length(r$steps)) "" else "stopped")
  }
  invisible(c(vapply(running, function(r) r$folder, ""), stop_keras()))
}
