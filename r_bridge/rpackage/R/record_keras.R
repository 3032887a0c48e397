# Models of Keras: keras3 runs the Python library through reticulate, and Python's recorder sees all
# that it computes (r_bridge/from_r/recorded.py), in this session.

# Whether a model, or one of several, is Python's.
is_python <- function(model) {
  several <- is.list(model) && !inherits(model, "python.builtin.object")
  any(vapply(if (several) model else list(model), inherits, NA, "python.builtin.object"))
}

# Begins to record models of Keras.
record_keras <- function(model, optimizer, folder, settings, program = script_file(),
                         call = rlang::caller_env()) {
  force(call)
  if (is.list(model) && !inherits(model, "python.builtin.object") && !all_named(model)) {
    abort(c("The models of {.arg model} must have names.",
            "i" = "Such as {.code list(generator = g, discriminator = d)}."), call)
  }
  wrong <- other_backend()
  if (!is.null(wrong)) abort(wrong, call)
  module <- python_recorder(call)
  is_new <- is.character(folder) && length(folder) == 1L && !dir.exists(folder)
  check_new_folder(folder, settings$overwrite, call, remove = FALSE)
  on.exit(if (is_new && !length(list.files(folder, all.files = TRUE, no.. = TRUE))) {
    unlink(folder, recursive = TRUE, expand = FALSE)
  })
  answer(module$record_model(model, optimizer, folder, recorder_options(settings), program,
                             keras_environment()), call)
  on.exit()
  invisible(model)
}

# The arguments of Python's record().
recorder_options <- function(settings) {
  steps <- settings$steps
  list(steps = if (is.finite(steps)) as.integer(steps), every = as.integer(settings$every),
       start = settings$start$folder, replay = settings$replay$folder,
       names = settings$names_file, overwrite = settings$overwrite)
}

keras_environment <- function() {
  packages <- Filter(isNamespaceLoaded, c(keras3 = "keras3", reticulate = "reticulate"))
  c(list(R = paste0(R.version$major, ".", R.version$minor)),
    lapply(packages, function(name) as.character(utils::packageVersion(name))))
}

# Python's recorder; an error if the session's Python lacks it.
python_recorder <- function(call = NULL) {
  if (is.null(session$python)) {
    session$python <- tryCatch(
      reticulate::import("r_bridge.from_r.recorded", convert = FALSE), error = function(e) {
        problem <- find_python(known_python)$problem
        if (is.null(problem)) {
          why <- first_line(conditionMessage(e))
          abort(c("Python's recorder cannot be loaded.", "x" = "{why}",
                  "i" = "See {.run [pyvae_sitrep()](pyvae::pyvae_sitrep())}."), call)
        }
        abort(c("{problem[[1L]]}", "x" = "{problem[[2L]]}", "i" = "{problem[[3L]]}",
                "i" = paste("It has to be the Python that Keras is in: choose it before keras3 is",
                            "loaded.")), call, class = "pyvae_no_python")
      })
    # reticulate ends no Python at the end of its session
    reg.finalizer(session, function(s) {
      tryCatch(s$python$stop("the program ended"), error = function(e) NULL)
    }, onexit = TRUE)
  }
  session$python
}

# What is wrong if Keras computes with something else than PyTorch; NULL if nothing is.
other_backend <- function() {
  loaded <- reticulate::import("sys", convert = FALSE)$modules$get("keras")
  if (inherits(loaded, "python.builtin.NoneType")) return(NULL)
  backend <- reticulate::py_to_r(loaded$config$backend())
  if (identical(backend, "torch")) return(NULL)
  c(sprintf("Keras computes with %s, which cannot be seen.", backend),
    "i" = paste("Call {.code keras3::use_backend(\"torch\")} before the first layer, or set the",
                "environment variable KERAS_BACKEND=torch: the same program computes the same."))
}

# Whether a script can use Keras. Then R's torch is left alone until the script loads it: PyTorch
# does not fit into one session with it.
has_keras <- function() nzchar(system.file(package = "keras3"))

# Calls a function when a package is loaded, or now. Returns what takes that back.
when_loaded <- function(package, see) {
  if (isNamespaceLoaded(package)) {
    see()
    return(NULL)
  }
  over <- FALSE
  event <- packageEvent(package, "onLoad")
  hook <- function(...) if (!over) see()
  setHook(event, hook)
  function() {
    over <<- TRUE
    remove_hook(event, hook)
  }
}

remove_hook <- function(event, hook) {
  setHook(event, Filter(function(one) !identical(one, hook), getHook(event)), "replace")
}

# Records a script from the moment at which it has loaded Keras. `found$keras` is its recording,
# `found$wrong` the reason why there is none. Returns what takes it back.
watch_keras <- function(found, script, folder, settings, call) {
  begin <- function(...) {
    if (!is.null(found$keras) || isTRUE(found$over)) return(invisible())
    tryCatch({
      wrong <- other_backend()
      if (!is.null(wrong)) abort(wrong, call)
      found$loads_keras <- TRUE
      found$keras <- python_recorder(call)$Script(script, folder, recorder_options(settings),
                                                  keras_environment())
    }, error = function(e) {
      found$wrong <- e
      stop(e)                          # ends the script
    })
  }
  getExportedValue("reticulate", "py_register_load_hook")("keras", begin)
  function() {
    found$over <- TRUE
    remove_hook("reticulate::keras::load", begin)
  }
}

# Runs a script, whose errors may be those of the recording within it: then only what is wrong is
# said, and not where in Keras.
with_keras_errors <- function(found, call, code) {
  wrong <- tryCatch(withCallingHandlers({
    code
    NULL
  }, error = function(e) {
    refused <- inherits(e, "pyvae.errors.UserError")
    if (refused || !is.null(found$wrong)) {
      rlang::signal("", "pyvae_keras_error", wrong = if (refused) e else found$wrong)
    }
  }), pyvae_keras_error = function(signal) signal$wrong)
  wrong <- wrong %||% found$wrong      # a script may have caught it
  if (is.null(wrong)) return(invisible())
  if (!inherits(wrong, "pyvae.errors.UserError")) {
    wrong$trace <- NULL
    rlang::cnd_signal(wrong)
  }
  said <- sentence(sub("^[A-Za-z_.]*UserError: ", "", first_line(conditionMessage(wrong))))
  abort("{said}", call)
}

no_keras <- c(
  "x" = "No model of Keras was trained, or called without an optimizer.",
  "i" = "A step is an update by the model's optimizer; without one, a call of a model.")

# Ends the recording of a script, and returns how many steps it has.
end_keras <- function(found, ended, call) {
  one <- found$keras
  found$keras <- NULL
  if (is.null(one)) 0L else answer(one$end(ended), call)
}

# Ends what Python records in this session; returns its folder, if there is one.
stop_keras <- function() {
  if (is.null(session$python)) character() else as.character(unlist(answer(session$python$stop())))
}
