# Networks that a program uses and does not train: a teacher that follows the model, a target
# network, a frozen backbone. Of them a trace has the parameters and buffers that functions took,
# each in the steps in which it is no longer what it was. And what such a network returned, or
# whatever else was computed without gradients from parameters, is told from what comes from outside.

# A function is about to be called. Returns whether it computes something from parameters.
note_beside <- function(f, about, given) {
  computed <- FALSE
  for (r in active()) {
    if (r$passes || length(r$path) && session$grad_enabled()) next     # the model's own
    guarded(r, {
      arguments <- matched(f, about, given)
      given <- tensors_in(arguments)
      own <- vapply(given, inherits, NA, c("nn_parameter", "nn_buffer"))
      if (any(own)) note_untrained(r, given[own & !only_updated(about, arguments, names(given))])
      computed <- computed || any(vapply(given, inherits, NA, "nn_parameter")) || any(vapply(given, is_computed, NA)) ||
        any(vapply(given, function(x) of_the_model(r$seen, x), NA))
    })
  }
  computed
}

# While a norm takes the statistics of the batch, it only updates those that it is given.
only_updated <- function(about, arguments, names) {
  taken <- isTRUE(arguments[["training"]] %||% arguments[["use_input_stats"]])
  taken & names %in% c(".running_mean", ".running_var")
}

# What was computed from parameters, as long as it is in use: by address, which another tensor may
# get later.
keep_computed <- function(out) {
  for (x in tensors_in(out)) {
    assign(address_of(x), rlang::new_weakref(x), envir = session$computed)
  }
  if (length(session$computed) > session$enough) {
    gone <- Filter(function(key) is.null(rlang::wref_key(session$computed[[key]])),
                   ls(session$computed))
    rm(list = gone, envir = session$computed)
    session$enough <- 2 * length(session$computed) + 1000
  }
}

is_computed <- function(tensor) {
  kept <- session$computed[[address_of(tensor)]]
  !is.null(kept) && !is.null(rlang::wref_key(kept))
}

# Parameters that some function takes: those of the model are known, others are of a network that is
# called beside it.
note_untrained <- function(r, tensors) {
  known <- vapply(tensors, function(x) startsWith(known_source(r$seen, x) %||% "", "="), NA)
  if (all(known)) return(invisible())
  running <- running_modules()
  for (x in tensors[!known]) {
    address <- address_of(x)
    place <- r$beside$places[[address]] %||% place_beside(r, address, running)
    # else it is moved, and not used
    if (is.null(place) || !any(vapply(running, identical, NA, place$network$instance))) next
    network <- place$network
    called <- network$name %in% r$beside$called
    if (!called) {
      r$beside$called <- c(r$beside$called, network$name)
      network$first <- address
    }
    # what it is once `backward()` was called goes into no loss of this step
    if (!r$beside$learnt && (!called || identical(network$first, address))) keep_tensors(r, network)
    network$used <- union(network$used, place$name)
  }
}

# The modules whose forward() runs now, the outermost first: it is a function within the environment
# that has its `self`.
running_modules <- function() {
  own <- lapply(sys.frames(), function(frame) {
    get0("self", envir = parent.env(frame), inherits = FALSE)
  })
  unique(Filter(function(instance) inherits(instance, "nn_Module"), own))
}

# The network and the name in it of a parameter that is taken for the first time in a step: the
# outermost module that runs now and is no wrapper of the model. NULL if it is of none.
place_beside <- function(r, address, running) {
  models <- vapply(r$models, function(model) rlang::obj_address(instance_of(model)), "")
  for (instance in running) {
    wraps <- any(models %in% addresses_within(instance))
    tensors <- if (!wraps) named_tensors(instance)
    # the calls that a batch norm counts change nothing that it returns
    tensors <- tensors[!grepl("num_batches_tracked$", names(tensors))]
    addresses <- vapply(tensors, address_of, "")
    if (!address %in% addresses) next
    if (!any(vapply(tensors, inherits, NA, "nn_parameter"))) next   # its input in another form
    known <- vapply(tensors, function(x) startsWith(known_source(r$seen, x) %||% "", "="), NA)
    network <- network_beside(r, instance, tensors[!known & !duplicated(addresses)])
    for (name in names(network$tensors)) {
      r$beside$places[[address_of(network$tensors[[name]])]] <- list(network = network, name = name)
    }
    return(r$beside$places[[address]])
  }
}

# A network with its name. One that is copied anew takes the place of the one before.
network_beside <- function(r, instance, tensors) {
  found <- variable_of(instance)
  shapes <- lapply(tensors, function(x) x$shape)
  for (other in r$beside$networks) {
    again <- found %in% c("", other$name) && !other$name %in% r$beside$called
    if (identical(other$instance, instance) || (again && identical(other$shapes, shapes))) {
      other$instance <- instance
      other$tensors <- tensors
      return(other)
    }
  }
  name <- if (nzchar(found)) found else "network"
  taken <- vapply(r$beside$networks, function(other) other$name, "")
  tried <- c(name, paste0(name, "#", seq_len(length(taken) + 1L) + 1L))
  network <- list2env(list(name = setdiff(tried, taken)[[1L]], instance = instance,
                           tensors = tensors, shapes = shapes, used = character()),
                      parent = emptyenv())
  r$beside$networks <- c(r$beside$networks, list(network))
  network
}

# The variable that holds a module, or "". What is not evaluated yet stays so.
variable_of <- function(instance) {
  for (where in c(globalenv(), sys.frames())) {
    names <- ls(where)
    names <- names[!rlang::env_binding_are_lazy(where, names)]
    names <- names[!rlang::env_binding_are_active(where, names)]
    for (name in names) {
      value <- tryCatch(get0(name, envir = where, mode = "function", inherits = FALSE),
                        error = function(e) NULL)          # an argument that is missing
      if (identical(attr(value, "module"), instance)) {
        return(gsub("/", ".", substr(name, 1L, 60L), fixed = TRUE))
      }
    }
  }
  ""
}

# Copies what is not as it was last written.
keep_tensors <- function(r, network) {
  network$pending <- network$hashes <- list()
  for (name in names(network$tensors)) {
    x <- network$tensors[[name]]
    plain <- as_written(x, torch_type(x))
    hash <- cli::hash_raw_sha256(torch::buffer_from_torch_tensor(plain))
    key <- paste0("untrained/", network$name, "/", name)
    if (identical(hash, r$beside$written[[key]])) next
    network$pending[[key]] <- list(name = name, tensor = copied(x), hash = hash)
  }
}

# What is to be written of the step, if the model or the loss took something that was computed so.
take_untrained <- function(r) {
  arrays <- list()
  if (!isTRUE(r$seen$took_computed)) return(arrays)
  for (network in r$beside$networks) {
    if (!network$name %in% r$beside$called) next
    for (key in names(network$pending)) {
      one <- network$pending[[key]]
      if (!one$name %in% network$used) next
      arrays[[key]] <- one$tensor
      r$beside$written[[key]] <- one$hash
    }
  }
  arrays
}

new_beside <- function() {
  list2env(list(networks = list(), places = list(), written = list(), called = character(),
                learnt = FALSE), parent = emptyenv())
}

# A step begins.
forget_beside <- function(r) {
  for (network in r$beside$networks) network$pending <- list()
  r$beside$called <- character()
  r$beside$places <- list()      # an address may be another tensor's by now
  r$beside$learnt <- FALSE
}
