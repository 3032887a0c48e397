# Which recordings are under way in this session. What record() puts into torch and into modules
# looks here first, and does nothing else while no step is recorded.

session <- new.env(parent = emptyenv())
session$recordings <- list()
session$modules <- list2env(list(), parent = emptyenv())   # address of an instance -> its place
session$passes <- NULL     # the recording of forward passes that is under way
session$waits <- FALSE     # whether the recorder waits for a script's first network call
session$open <- FALSE      # whether the next call is one of its own: not within a call that is seen
session$deriving <- FALSE  # whether autograd_grad() is running
session$computed <- new.env(parent = emptyenv())   # address of a tensor -> a weak reference to it
session$empty <- new.env(parent = emptyenv())      # the same, of those that nobody has filled
session$enough <- 1000     # of them, before those are forgotten that are not in use any more
session$python <- NULL     # r_bridge/from_r/recorded.py, once a model of Keras is recorded
session$undo <- list()     # what takes the recorder out of torch again

torch_internal <- function(name) get(name, envir = asNamespace("torch"), inherits = FALSE)

address_of <- function(tensor) session$address(tensor)

# Puts the recorder into torch, unless it is there.
enter_torch <- function() {
  session$waits <- FALSE
  options(pyvae.recording = see_module)
  if (length(session$undo)) return(invisible())
  session$address <- torch_internal("xptr_address")
  session$version <- torch_internal("cpp_torch_method__version_self_Tensor")
  session$grad_enabled <- torch_internal("cpp_autograd_is_enabled")
  session$elsewhere <- torch::cuda_is_available() || torch::backends_mps_is_available()
  session$undefined <- torch_internal("is_undefined_tensor")
  session$undo <- c(wrap_functions(), wrap_own_functions(), wrap_backward(), wrap_autograd_grad(),
                    function() options(pyvae.recording = NULL))
}

leave_torch <- function() {
  session$open <- session$waits <- FALSE
  session$computed <- new.env(parent = emptyenv())
  for (undo in session$undo) undo()
  session$undo <- list()
}

# The recordings that record the step that is being computed.
active <- function() Filter(function(r) r$active, session$recordings)

is_running <- function(r) any(vapply(session$recordings, identical, NA, r))

reopen <- function() session$open <- length(active()) > 0L

# Runs the recorder's own code. Whatever goes wrong in it, a full disk included, ends the recording
# and not the training.
guarded <- function(r, code) {
  open <- session$open
  session$open <- FALSE
  on.exit(session$open <- open && length(active()) > 0L)
  tryCatch(torch::with_no_grad(code), error = function(e) {
    why <- gsub("[[:space:]]+", " ", conditionMessage(e))
    said <- paste0("Recording to '", r$folder, "' ended at step ", r$step, ": ", why)
    cli::cli_warn(c("{said}", "i" = "The {if (r$passes) 'program' else 'training'} goes on."))
    r$broken <- TRUE
    end_recording(r, paste0("in step ", r$step, ": ", why))
  })
  invisible()
}

end_recording <- function(r, why = "") {
  if (r$passes && is_running(r)) finish_pass(r)
  if (identical(session$passes, r)) session$passes <- NULL
  r$active <- FALSE
  r$seen <- NULL
  r$ended <- why
  session$recordings <- Filter(function(other) !identical(other, r), session$recordings)
  for (undo in r$undo) undo()
  for (key in ls(session$modules)) {
    if (identical(session$modules[[key]]$recording, r)) rm(list = key, envir = session$modules)
  }
  if (length(r$steps)) tryCatch(write_header(r), error = function(e) NULL) else leave_nothing(r)
  if (!length(session$recordings)) leave_torch()
}
