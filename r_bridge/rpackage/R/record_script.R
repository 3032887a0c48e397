#' Record a script that knows nothing of it
#'
#' Runs a script that trains a model with the package torch or keras3, and records it as [record()]
#' does: the model is the one whose parameters the script's optimizer has, of Keras the one that it
#' trains. Of a script that makes no optimizer, forward passes are recorded: each call of the networks
#' that it uses.
#'
#' @param script The script's file.
#' @param folder Where to write the trace; a folder that is new or empty.
#' @param ... Further arguments of [record()], such as `steps`.
#' @param args What the script's `commandArgs(trailingOnly = TRUE)` returns.
#' @returns `folder`, invisibly.
#' @seealso [record()]
#' @export
#' @examples
#' \dontrun{
#' record_script("train.R", "r", steps = 3)
#' }
#' # from a shell: Rscript -e 'pyvae::record_script("train.R", "r")'
record_script <- function(script, folder, ..., args = character()) {
  call <- rlang::current_env()
  keras <- has_keras()
  if (!keras) check_torch(call)
  check_script(script, call)
  settings <- recording_settings(..., call = call)
  is_new <- is.character(folder) && length(folder) == 1L && !dir.exists(folder)
  # a script that fails before its training replaces no earlier trace
  check_new_folder(folder, settings$overwrite, call, remove = FALSE)
  place <- normalizePath(folder)  # scripts may go elsewhere
  found <- new.env(parent = emptyenv())
  found$instances <- found$models <- found$optimisers <- found$undo <- list()
  ended <- "the script ended with an error"
  on.exit({
    for (put_back in found$undo) put_back()
    if (is_running(found$recording)) end_recording(found$recording, ended)
    tryCatch(end_keras(found, ended, call), error = function(e) NULL)
    nothing <- !length(list.files(place, all.files = TRUE, no.. = TRUE))
    if (is_new && nothing) unlink(place, recursive = TRUE)
  })
  watch <- function() watch_torch(found, script, folder, settings, call)
  if (keras) {
    found$undo <- list(watch_keras(found, script, place, settings, call))
    later <- when_loaded("torch", watch)
    found$undo <- c(found$undo, later)
  } else {
    watch()
  }
  with_keras_errors(found, call,
                    with_arguments(args, source(script, local = globalenv(), print.eval = TRUE)))
  if (isTRUE(found$recording$passes)) end_recording(found$recording)
  of_keras <- end_keras(found, "", call)
  ended <- if (length(found$recording$steps)) "" else "no step"
  if (!is.null(found$refused)) rlang::cnd_signal(found$refused)
  if (!length(found$recording$steps) && !of_keras) {
    nothing <- if (isTRUE(found$loads_keras)) no_keras else no_optimizer
    why <- if (is.null(found$recording)) found$without %||% nothing else
      if (nzchar(found$recording$ended)) c("x" = "It ended {found$recording$ended}.") else
        c("x" = "The optimizer's {.fn step} was not called.",
          "i" = "Forward passes alone: {.code record(model, NULL, folder)} in the script.")
    abort(c("No step of {.file {script}} was recorded.", why), call)
  }
  invisible(folder)
}

# Waits for the optimisers that a script makes with R's torch, and for its first network's call.
watch_torch <- function(found, script, folder, settings, call) {
  begin <- function(model, optimizer, whole = NULL) {
    start_recording(model, optimizer, folder, settings, basename(script), call, whole)
  }
  whole <- function(instance) outermost_of(found$instances, instance)
  found$undo <- c(found$undo, watch_modules(found), watch_first_call(function() {
    if (is.null(found$recording)) found$recording <- begin(NULL, NULL, whole)
  }), watch_optimisers(function(optimizer) {
    if (isTRUE(found$recording$passes)) {          # before the training
      discard_passes(found$recording)
      found$recording <- NULL
    }
    see_optimiser(found, optimizer, function(models) {
      begin(if (length(models) == 1L) models[[1L]] else models, found$optimisers)
    }, !is.null(settings$start))
  }))
}

check_script <- function(script, call) {
  if (!is.character(script) || length(script) != 1L || !file.exists(script)) {
    abort(c("{.arg script} must be a file.", "x" = "There is no {.file {script}}."), call)
  }
  if (dir.exists(script)) {
    abort(c("{.arg script} must be a file.", "x" = "{.file {script}} is a folder."), call)
  }
  if (grepl("[.]py$", script)) {
    abort(c("{.arg script} must be a script in R.", "x" = "{.file {script}} is one in Python.",
            "i" = "Record it in a shell: {.code pyvae record --out DIR -- {script}}"), call)
  }
}

# An optimiser was made. A further one is recorded as well: if it trains another model, as that of a
# GAN does, the recording begins anew with both, unless it has a step already.
see_optimiser <- function(found, optimizer, start, may_wait) {
  r <- found$recording
  late <- !is.null(r) && (!is_running(r) || length(r$steps))
  if (!is.null(r) && trains_any(r, optimizer)) {
    found$optimisers <- c(found$optimisers, list(optimizer))
    if (!late) add_optimiser(r, optimizer)
    return(invisible())
  }
  roots <- owners_of(found$instances, optimizer)
  if (late || (is.null(roots) && !is.null(r))) {
    cli::cli_inform(c("An optimizer is not recorded: {if (late) made_late else of_no_model}.",
                      "i" = "{.fn record} takes several models and optimizers."))
    return(invisible())
  }
  if (is.null(roots)) {
    found$without <- no_module
    return(invisible())
  }
  found$optimisers <- c(found$optimisers, list(optimizer))
  for (root in roots) found$models <- with_model(found$models, root)
  if (!is.null(r)) end_recording(r)
  found$refused <- found$recording <- NULL
  found$recording <- tryCatch(start(found$models), error = function(e) {
    if (!may_wait) rlang::cnd_signal(e)
    # a model that is made later may be what lacks: then the names are others
    found$refused <- e
    step <- get("step", envir = optimizer)
    exchange(optimizer, "step", function(...) {
      if (!is.null(found$refused)) rlang::cnd_signal(found$refused)
      step(...)
    })
    NULL
  })
}

made_late <- "the script made it after the first step"
of_no_model <- "its tensors are parameters of no model"

trains_any <- function(r, optimizer) {
  any(addresses_of(optimizer) %in% vapply(r$tensors, address_of, ""))
}

# A further optimiser of the model that is recorded.
add_optimiser <- function(r, optimizer) {
  more <- new_optimiser("", optimizer)
  r$optimisers <- c(unname(r$optimisers), list(more))
  for (i in seq_along(r$optimisers)) r$optimisers[[i]]$name <- paste0("optimizer.", i - 1L)
  r$undo <- c(r$undo, wrap_optimiser(r, more))
}

# Models by their class, each once, as Python names them.
with_model <- function(models, root) {
  if (any(vapply(models, function(m) identical(attr(m, "module"), attr(root, "module")), NA))) {
    return(models)
  }
  name <- kind <- snake_case(sub("^nn_", "", attr(root, "module")$.classes[[1L]]))
  while (name %in% names(models)) name <- paste0(kind, length(models) + 1L)
  c(models, stats::setNames(list(root), name))
}

snake_case <- function(name) {
  tolower(gsub("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name, perl = TRUE))
}

# Notes every module that is made, and wraps it at once: so the script's own variables have the
# wrapped ones.
watch_modules <- function(found) {
  namespace <- asNamespace("torch")
  original <- torch_internal("create_nn_module_callable")
  exchange(namespace, "create_nn_module_callable", function(instance) {
    wrap_forward(instance)
    found$instances[[rlang::obj_address(instance)]] <- instance
    original(instance)
  })
  list(function() exchange(namespace, "create_nn_module_callable", original))
}

# Calls `see` with each optimiser that is made: R6 runs the initialize() of the class above, at the
# end of which it stands.
watch_optimisers <- function(see) {
  options(pyvae.optimiser = see)
  undo <- lapply(c("Optimizer", "OptimizerIgnite"), function(class) {
    generator <- torch_internal(class)
    old <- generator$public_methods$initialize
    body(generator$public_methods$initialize) <- bquote({
      .(body(old))
      getOption("pyvae.optimiser")(self)
    })
    function() generator$public_methods$initialize <- old
  })
  c(undo, function() options(pyvae.optimiser = NULL))
}

no_optimizer <- c(
  "x" = "No optimizer was made of a model's parameters, and no {.fn nn_module} was called.",
  "i" = "A step is a call of an optimizer's {.fn step}; without one, a call of a network.")

no_module <- c(
  "x" = "The optimizer has tensors that are parameters of no {.fn nn_module}.",
  "i" = "Make them parameters of one: {.code self$w <- nn_parameter(w)}.")

# Of what an optimiser trains.
addresses_of <- function(optimizer) {
  groups <- lapply(optimizer$param_groups, function(group) as_tensors(group$params))
  vapply(unlist(groups), torch_internal("xptr_address"), "")
}

# The outermost module that has all parameters of an optimiser; or the one that has most, that which
# has most of the others, and so on (of several the last one that was made): in the order of the
# parameters. NULL if a tensor is no module's.
owners_of <- function(instances, optimizer) {
  address <- torch_internal("xptr_address")
  own <- lapply(instances, function(m) vapply(m$parameters, address, ""))
  trained <- wanted <- addresses_of(optimizer)
  owners <- list()
  places <- integer()
  while (length(wanted)) {
    held <- vapply(own, function(mine) sum(wanted %in% mine), 0L)
    if (!length(held) || !max(held)) return(NULL)
    most <- instances[held == max(held)]
    children <- unlist(lapply(most, function(m) {
      vapply(private_of(m)$modules_, function(child) rlang::obj_address(instance_of(child)), "")
    }))
    outermost <- utils::tail(setdiff(names(most), children), 1L)
    owners <- c(owners, list(callable_of(instances[[outermost]])))
    places <- c(places, match(TRUE, trained %in% own[[outermost]]))
    wanted <- setdiff(wanted, own[[outermost]])
  }
  owners[order(places)]
}

# The function that a program calls a module by.
callable_of <- function(instance) {
  callable <- get("forward", envir = instance)
  attr(callable, "class") <- instance$.classes
  attr(callable, "module") <- instance
  callable
}

# With commandArgs(trailingOnly = TRUE) as the script expects it.
with_arguments <- function(args, code) {
  base <- baseenv()
  original <- base$commandArgs
  exchange(base, "commandArgs", function(trailingOnly = FALSE) {
    if (trailingOnly) args else c(original(), "--args", args)
  })
  on.exit(exchange(base, "commandArgs", original))
  code
}
