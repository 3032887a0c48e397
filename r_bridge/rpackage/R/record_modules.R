# Modules. An nn_module is a function with the attribute `module`, an R6 object, and a parent holds
# copies of these functions: so forward() is exchanged in the object and in the parent's list. The
# new one lives in R6's own environment and finds the old one through `self`. Were it to close over
# the old one, a clone would compute with the original's weights.

instance_of <- function(module) if (is.environment(module)) module else attr(module, "module")

private_of <- function(instance) instance$.__enclos_env__$private

# Exchanges an instance's forward(), once. Nothing of the recorder is in the model: where no
# recording is under way, or in another session, the old one is called.
wrap_forward <- function(instance) {
  if (!is.null(get0(".__forward__", envir = instance, inherits = FALSE))) return(invisible())
  enclosure <- instance$.__enclos_env__
  assign(".__forward__", get("forward", envir = instance), envir = instance)
  wrapper <- rlang::new_function(rlang::pairlist2(... = ), quote({
    recording <- getOption("pyvae.recording")
    if (is.null(recording)) self$.__forward__(...) else recording(self, ...)
  }), enclosure)
  exchange(instance, "forward", wrapper)
}

# Assigns to a binding that may be locked, and locks it again.
exchange <- function(where, name, value) {
  locked <- rlang::env_binding_are_locked(where, name)
  if (locked) rlang::env_binding_unlock(where, name)
  assign(name, value, envir = where)
  if (locked) rlang::env_binding_lock(where, name)
}

# Takes a module and those in it into a recording: names their places, and wraps them. Returns the
# module as a function that calls the wrapped forward().
take_module <- function(r, module, path = "") {
  instance <- instance_of(module)
  key <- rlang::obj_address(instance)
  if (is.null(session$modules[[key]])) {
    wrap_forward(instance)
    layer <- torch_layer(instance)
    assign(key, list(recording = r, instance = instance, path = path, layer = layer),
           envir = session$modules)
    private <- private_of(instance)
    for (name in names(private$modules_)) {
      below <- private$modules_[[name]]
      private$modules_[[name]] <- take_module(r, below, below_path(path, name))
    }
  }
  wrapped <- get("forward", envir = instance)
  attributes(wrapped) <- attributes(module)    # class, module, and what luz has put there
  wrapped
}

# The name of the layer that an instance is, or NULL: a container, or a module of the user's own.
# A class that is derived from one of torch's, with a forward() of its own, is looked into.
torch_layer <- function(instance) {
  kind <- torch_classes(instance)
  if (!length(kind) || kind[[1L]] %in% c("nn_sequential", "nn_module_list", "nn_module_dict")) {
    return(NULL)
  }
  inner <- lapply(private_of(instance)$modules_, function(m) torch_classes(instance_of(m)))
  if (any(lengths(inner) > 0L) && kind[[1L]] != "nn_multihead_attention") return(NULL)
  ours <- attr(torch_internal(kind[[1L]]), "module")
  while (is.null(ours$public_methods$forward)) ours <- ours$get_inherit()
  forward <- get("forward", envir = instance)
  original <- get0(".__forward__", envir = instance, inherits = FALSE) %||% forward
  if (!identical(body(original), body(ours$public_methods$forward))) return(NULL)
  sub("^nn_", "", kind[[1L]])
}

# Those of an instance's classes that are torch's.
torch_classes <- function(instance) {
  namespace <- asNamespace("torch")
  Filter(function(class) {
    inherits(get0(class, envir = namespace, inherits = FALSE), "nn_module_generator")
  }, instance$.classes)
}

# What a wrapped forward() calls.
see_module <- function(instance, ...) {
  list(...)                   # now: they may be calls of other networks
  r <- begin_pass(instance)
  if (is.null(r)) return(see_call(instance, ...))
  returned <- FALSE
  on.exit(end_pass(r, returned))
  out <- see_call(instance, ...)
  returned <- TRUE
  note_returned(r, out)
  out
}

see_call <- function(instance, ...) {
  place <- session$modules[[rlang::obj_address(instance)]]
  forward <- instance$.__forward__
  r <- place$recording
  arguments <- list(...)      # now: they are calls as well, and not this module's
  if (is.null(place) || !isTRUE(r$active) || !listening()) return(forward(...))
  if (!r$opened) guarded(r, open_step(r))
  if (is.null(place$layer)) {
    r$path <- c(r$path, place$path)
    on.exit(r$path <- utils::head(r$path, -1L))
    return(forward(...))
  }
  if (!session$open) return(forward(...))                  # within another layer
  session$open <- FALSE
  on.exit(reopen())
  drawn <- draw_before(place$layer, instance$p, instance$training, arguments)
  within <- within_module(place$layer, instance, arguments)
  if (isTRUE(instance$inplace)) {
    guarded(r, before_change(r, arguments))
    on.exit(forget_change(), add = TRUE)
  }
  name <- if (nzchar(place$path)) place$path else place$layer
  if (!is.null(within$heads)) {
    if (!is.null(r$replay)) within$given <- take_mask(r, name)
    session$within <- within
    on.exit(session$within <- NULL, add = TRUE)
  }
  before <- before_drop(arguments[[1L]], drawn, isTRUE(instance$inplace))
  out <- forward(...)
  if (!is.null(r$replay) && !is.null(within)) out <- replay_within(r, name, within, out)
  if (!is.null(r$replay) && !is.null(drawn)) {
    drawn$mask <- replay_mask(r, name, drawn)
    out <- dropped(out, before, drawn, isTRUE(instance$inplace))
  }
  guarded(r, {
    named <- names(arguments) %||% rep("", length(arguments))
    masks <- named %in% c("attn_mask", "key_padding_mask") & vapply(arguments, is_tensor, NA)
    flags <- arguments[nzchar(named) & vapply(arguments, rlang::is_bool, NA)]
    call <- list(
      name = name, layer = place$layer, inside = TRUE, options = c(module_options(instance), flags),
      training = isTRUE(instance$training),
      roles = c(module_roles(instance, place$path),
                lapply(arguments[masks], function(x) source_of(r$seen, x))),
      inputs = vapply(tensors_in(unname(arguments[!masks])), function(x) source_of(r$seen, x), ""),
      mask = mask_of(drawn, out) %||% mask_within(within, out))
    add_stage(r$seen, call, tensors_in(out), isTRUE(instance$inplace))
  })
  out
}

# A module's parameters and buffers, by role: `weight` is `fc.weight`. R counts the layers of an RNN
# from 1, PyTorch from 0.
own_tensors <- function(instance) {
  private <- private_of(instance)
  own <- c(private$parameters_, private$buffers_)
  own <- own[!vapply(own, is.null, NA)]
  if ("nn_rnn_base" %in% instance$.classes) names(own) <- rnn_names(names(own))
  own
}

rnn_names <- function(names) {
  number <- regmatches(names, regexpr("_l[0-9]+", names))
  regmatches(names, regexpr("_l[0-9]+", names)) <-
    paste0("_l", as.integer(substring(number, 3L)) - 1L)
  names
}

# What `f` gives for a module and for those in it, or for several models, with their paths.
in_modules <- function(module, f, path = "") {
  below <- module
  own <- NULL
  if (!is.list(module)) {
    instance <- instance_of(module)
    own <- f(instance)
    if (length(own) && nzchar(path)) names(own) <- paste0(path, ".", names(own))
    below <- private_of(instance)$modules_
  }
  names <- names(below) %||% rep("", length(below))
  deeper <- lapply(seq_along(below), function(i) {
    in_modules(below[[i]], f, below_path(path, names[[i]]))
  })
  c(own, do.call(c, deeper))
}

below_path <- function(path, name) if (nzchar(path)) paste0(path, ".", name) else name

# Parameters and buffers of modules and those in them, in the order of state_dict().
named_tensors <- function(modules) in_modules(modules, own_tensors)

# Which names of named_tensors() are parameters.
parameter_names <- function(modules) {
  kinds <- in_modules(modules, function(instance) {
    own <- own_tensors(instance)
    parameters <- vapply(private_of(instance)$parameters_, address_of, "")
    vapply(own, function(x) address_of(x) %in% parameters, NA)
  })
  names(kinds)[unlist(kinds)]
}

# Sources of a layer's parameters and buffers, by role.
module_roles <- function(instance, path) {
  roles <- names(named_tensors(instance))
  names <- if (nzchar(path)) paste0(path, ".", roles) else roles
  stats::setNames(as.list(sprintf("=%s", names)), roles)
}
