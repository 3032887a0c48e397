# What can be wrong with the arguments of record(), one message each.

check_torch <- function(call = rlang::caller_env()) {
  if (nzchar(system.file(package = "torch")) && torch::torch_is_installed()) return(invisible())
  abort(c("The R package torch is not installed.",
          "i" = "Use {.code install.packages(\"torch\")}, then {.code torch::install_torch()}."),
        call)
}

# A list of models, named if they are several.
check_models <- function(model, call) {
  models <- if (is.list(model)) model else list(model)
  right <- vapply(models, function(one) {
    inherits(one, "nn_module") && !inherits(one, "nn_module_generator")
  }, NA)
  if (!length(models) || !all(right)) {
    wrong <- if (length(models)) models[!right][[1L]]
    abort(c("{.arg model} must be a model of the package torch.", "x" = "It is {in_words(wrong)}."),
          call)
  }
  if (is.list(model) && !all_named(model)) {
    abort(c("The models of {.arg model} must have names.",
            "i" = "Such as {.code list(generator = g, discriminator = d)}."), call)
  }
  models
}

# The optimisers, named as in the trace, if they have parameters of the models.
check_optimisers <- function(models, optimizer, call) {
  objects <- if (is.environment(optimizer)) list(optimizer) else as.list(optimizer)
  wrong <- !vapply(objects, inherits, NA, "torch_optimizer")
  if (!length(objects) || any(wrong)) {
    abort(c("{.arg optimizer} must be an optimizer of the package torch, or a list of them.",
            "x" = "It is {in_words(if (length(objects)) objects[wrong][[1L]])}."), call)
  }
  address <- torch_internal("xptr_address")
  own <- unlist(lapply(models, function(model) vapply(model$parameters, address, "")))
  if (!length(own)) {
    abort(c("{.arg model} has no parameters: there is nothing to train.",
            "i" = "Assign its layers to {.code self} in {.code initialize()}."), call)
  }
  for (object in objects) {
    groups <- lapply(object$param_groups, function(group) as_tensors(group$params))
    if (!any(vapply(unlist(groups), address, "") %in% own)) {
      abort(c("{.arg optimizer} has none of the model's parameters.",
              "i" = paste("Make it from {.code model$parameters}, after the last",
                          "{.code model$to()}.")), call)
    }
  }
  names <- if (length(objects) == 1L) "optimizer" else
    paste0("optimizer.", seq_along(objects) - 1L)
  unname(Map(new_optimiser, names, objects))
}

# What is not trained has to have parameters all the same: without, it is no network.
check_passes <- function(models, call) {
  none <- !vapply(models, function(one) has_parameters(instance_of(one)), NA)
  if (any(none)) abort("{.arg model} has no parameters: there is no network to record.", call)
}

# Two recordings of one model would each take the other's for the model's own.
check_new <- function(model, call) {
  instance <- instance_of(model)
  recorded <- Filter(function(key) !is.null(session$modules[[key]]), addresses_within(instance))
  if (!length(recorded)) return(invisible())
  folder <- session$modules[[recorded[[1L]]]]$recording$folder
  abort(c("{.arg model} is being recorded already, to {.file {folder}}.",
          "i" = paste("A recording ends by itself after its last step, or with",
                      "{.code stop_recording()}.")), call)
}

check_new_folder <- function(folder, overwrite, call, remove = TRUE) {
  if (!is.character(folder) || length(folder) != 1L || is.na(folder) || !nzchar(folder)) {
    abort(c("{.arg folder} must be the name of a folder.", "x" = "It is {in_words(folder)}."), call)
  }
  if (file.exists(folder) && !dir.exists(folder)) {
    abort(c("{.arg folder} must be the name of a folder.", "x" = "{.file {folder}} is a file."),
          call)
  }
  if (overwrite && file.exists(file.path(folder, "trace.json"))) {
    if (!remove) return(invisible())
    remove_program(folder)
  }
  if (length(list.files(folder, all.files = TRUE, no.. = TRUE))) {
    abort(c("{.file {folder}} is not empty.",
            "i" = "Name another folder. A trace is replaced with {.code overwrite = TRUE}."), call)
  }
  made <- dir.exists(folder) || dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  if (!made || file.access(folder, 2L) != 0L) {
    abort("{.file {folder}} cannot be written.", call)
  }
}

# Of a module and those in it.
addresses_within <- function(instance) {
  below <- lapply(private_of(instance)$modules_, instance_of)
  c(rlang::obj_address(instance), unlist(lapply(below, addresses_within)))
}
