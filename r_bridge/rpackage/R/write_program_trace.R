# Writes a program's trace in the format of docs/reference/trace-of-a-program.md with base R only. This file
# can be sourced on its own, after write_trace.R, which has how arrays and texts are written.

program_format <- 5L

#' Write the trace of a program
#'
#' Records what any program did while it trained: one in plain R, or with a package that [record()]
#' does not know. [compare_traces()] and `pyvae compare` hold the trace against that of another
#' program, in any language, and say where the two part first. Works without Python. Everything is
#' checked before anything is written, and `trace.json` is written last.
#'
#' @param folder A new or empty folder.
#' @param engine Who computed, any name, such as `"base-r"`.
#' @param stages The network: a list of what [stage()] returns, in the order of execution. `NULL`
#'   if values are given by name alone: the comparison can then say where two programs part, but not
#'   why.
#' @param parameters A named list of arrays: the parameters, and buffers such as running means, as
#'   they were before the first step. `NULL` takes those that the first step has in `start`.
#' @param steps A list of the recorded steps, each a list as below. They are counted from 1; other
#'   numbers are given as the names of the list.
#' @param optimiser `list(kind = "sgd", settings = list(lr = 0.1, momentum = 0.9))`: PyTorch's names
#'   of the optimiser and of its settings. With `groups = list(list(parameters = , settings = ),
#'   ...)` in the place of `settings` it has only some of the parameters, or several groups of them.
#' @param language,index_base The program's language, and from which number it counts classes and
#'   indices: these are recorded as the program has them.
#' @param program The program's file name, which is shown.
#' @param environment A named list of texts: versions and whatever else results depend on.
#' @param overwrite Whether a program's trace that the folder holds may be replaced.
#' @returns `folder`, invisibly.
#' @details
#' A step is a list of what is known of it; all of it is optional.
#' - `start`: parameters and buffers when the step began, by name
#' - `forward`: what stages returned, by the name of the output; inputs as well
#' - `draw`: masks of dropout layers, 1 to keep and 0 to drop, by the name of the stage
#' - `loss`: the number whose gradients were taken, or a list of it (`total`) and further terms
#' - `gradient`: gradients of that number, by the name of a parameter or of an output
#' - `given`: the gradients that the optimiser got, where they are others (clipping)
#' - `state`: the optimiser's state after the step, by its name in PyTorch and then by parameter:
#'   `list(momentum_buffer = list(fc.weight = v))`; a single number, such as Adam's `step`, is that
#'   of all parameters
#' - `before`: likewise before the step, where the step before is not recorded
#' - `parameter`, `buffer`: parameters and buffers after the step
#' - `untrained`: parameters and buffers of networks that are used and not trained (a teacher, a
#'   target network), as they are when the step uses them, by the network's name:
#'   `list(teacher = list(fc.weight = w))`
#' - `optimiser`, `stages`: the step's own, where they are others than those of the first steps
#'
#' An entry may also be named as in the trace: `"forward/fc" = x`.
#'
#' Arrays have the same order of indices as in Python: `w[2, 1]` in R is `w[1, 0]` there. Doubles
#' are written as such, integers as integers; what a layer takes as classes or indices is written as
#' integers. A single number without `dim` is written without dimensions, as a loss is, unless it
#' belongs to a parameter; `array(x, 1)` is a vector of one.
#' @seealso [stage()], [read_program_trace()], [compare_traces()]; [record()] for the package torch.
#' @export
#' @examples
#' # y = x w + b, one step of gradient descent
#' x <- matrix(c(1, 2, 3, 4, 5, 6), 3)
#' target <- matrix(c(1, 0, 1), 3)
#' start <- list(fc.weight = matrix(c(0.1, -0.2), 1), fc.bias = 0.3)
#'
#' y <- x %*% t(start$fc.weight) + start$fc.bias
#' loss <- mean((y - target)^2)
#' dy <- 2 * (y - target) / length(y)
#' gradient <- list(fc.weight = t(dy) %*% x, fc.bias = sum(dy))
#' after <- Map(function(p, g) p - 0.1 * g, start, gradient)
#'
#' folder <- tempfile()
#' write_program_trace(
#'   folder, "base-r",
#'   stages = list(
#'     stage("x", "input"),
#'     stage("fc", "linear", "x", parameters = c(weight = "fc.weight", bias = "fc.bias")),
#'     stage("target", "input"),
#'     stage("mse_loss", "mse_loss", c("fc", "target"), options = list(reduction = "mean"))),
#'   steps = list(list(
#'     start = start, forward = list(x = x, fc = y, target = target, mse_loss = loss), loss = loss,
#'     gradient = c(list(fc = dy), gradient), parameter = after)),
#'   optimiser = list(kind = "sgd", settings = list(lr = 0.1)))
#' read_program_trace(folder)
write_program_trace <- function(folder, engine, stages = NULL, parameters = NULL, steps,
                                optimiser = NULL, language = "r", index_base = 1,
                                program = script_file(),
                                environment = r_environment(), overwrite = FALSE) {
  check_program(engine, steps, index_base, environment)
  check_program_folder(folder, overwrite)
  numbers <- step_numbers(steps)
  steps <- lapply(steps, unclass)
  steps[[1L]] <- with_start(steps[[1L]], parameters)
  if (is.null(parameters)) parameters <- parameters_in(steps[[1L]])
  about <- describe_program(steps, numbers, stages, parameters, optimiser)
  recorded <- Map(function(step, said, number) {
    record_values(step, said, about$shapes, paste("step", number))
  }, steps, about$steps, numbers)
  recorded <- without_what_stays(recorded)
  dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  if (file.exists(file.path(folder, "trace.json"))) remove_program(folder)
  done <- FALSE
  on.exit(if (!done) remove_program(folder))
  dir.create(file.path(folder, "steps"), showWarnings = FALSE)
  for (i in seq_along(recorded)) {
    one <- recorded[[i]]
    name <- sprintf("step-%06d.safetensors", numbers[[i]])
    write_safetensors(file.path(folder, "steps", name), one$values, one$shapes, one$types)
  }
  write_program_header(folder, list(
    format = program_format, engine = engine, language = language, index_base = index_base,
    program = program, environment = environment,
    parameters = describe_arrays(about$shapes, recorded, about$steps)), about, numbers)
  done <- TRUE
  invisible(folder)
}

#' A stage of a network
#'
#' One call of a layer or a function, as [write_program_trace()] takes it.
#'
#' @param name The stage's name, of its own. In PyTorch it is the layer's path, such as
#'   `"features.1"`.
#' @param layer What it computes, by PyTorch's name: a layer's class in snake case (`"linear"`,
#'   `"conv2d"`, `"batch_norm2d"`), a function's name (`"relu"`, `"add"`, `"cross_entropy_loss"`), or
#'   `"input"` for what comes from outside. A layer that pyvae does not know is compared by its
#'   values alone.
#' @param inputs The names of what goes in, in the order of the arguments: outputs of earlier stages,
#'   or parameters.
#' @param options A named list of settings by the names of PyTorch's arguments. Axes count from 0
#'   there.
#' @param parameters The parameters and buffers that it takes, by role:
#'   `c(weight = "fc.weight", bias = "fc.bias")`.
#' @param outputs The names of what it returns, if that is more than one array.
#' @param training Whether the layer was in training mode.
#' @returns A list of the arguments.
#' @seealso [write_program_trace()], which has an example.
#' @export
stage <- function(name, layer, inputs = character(), options = list(), parameters = character(),
                  outputs = name, training = TRUE) {
  list(name = name, layer = layer, inputs = inputs, options = options, parameters = parameters,
       outputs = outputs, training = training)
}

refuse <- function(...) stop(..., call. = FALSE)

is_text <- function(x) is.character(x) && length(x) == 1L && !is.na(x) && nzchar(x)

check_program <- function(engine, steps, index_base, environment) {
  if (!is_text(engine)) refuse("engine must be a name, such as \"base-r\"")
  if (!is.list(steps) || is.data.frame(steps)) refuse("steps must be a list of steps")
  if (!length(steps)) refuse("steps is empty; record at least one step")
  if (!all(vapply(steps, is.list, NA))) {
    refuse("steps must be a list of steps, each a list such as list(start = , loss = )")
  }
  for (step in steps) {
    if (!all_named(step)) refuse("a step must be a named list, such as list(start = , loss = )")
  }
  if (!is.numeric(index_base) || length(index_base) != 1L || !index_base %in% 0:1) {
    refuse("index_base must be 0 or 1")
  }
  if (!all_named(environment)) refuse("environment must be a named list of text")
}

# Nothing but an earlier trace is ever replaced.
check_program_folder <- function(folder, overwrite) {
  if (!is_text(folder)) refuse("folder must be the name of a folder")
  if (file.exists(folder) && !dir.exists(folder)) {
    refuse("'", folder, "' is a file; name a new folder")
  }
  if (!length(list.files(folder, all.files = TRUE, no.. = TRUE))) return(invisible())
  if (!is_program_trace(folder)) {
    refuse("'", folder, "' is not empty, and holds no trace of a program; name a new folder")
  }
  if (!isTRUE(overwrite)) {
    refuse("'", folder, "' holds a trace already; name a new folder, or give overwrite = TRUE")
  }
}

# From the first bytes alone.
is_program_trace <- function(folder) {
  path <- file.path(folder, "trace.json")
  if (!file.exists(path)) return(FALSE)
  start <- readBin(path, "raw", 200L)
  grepl("\"format\":[[:space:]]*5", rawToChar(start[start != 0L]), useBytes = TRUE)
}

# An earlier trace of a program; nothing else that is in the folder.
remove_program <- function(folder) {
  steps <- list.files(file.path(folder, "steps"), "^step-[0-9]+[.]safetensors$", full.names = TRUE)
  unlink(c(steps, file.path(folder, "trace.json")), expand = FALSE)
  if (!length(list.files(file.path(folder, "steps")))) {
    unlink(file.path(folder, "steps"), recursive = TRUE, expand = FALSE)
  }
}

step_numbers <- function(steps) {
  if (is.null(names(steps))) return(seq_along(steps))
  wrong <- !grepl("^[1-9][0-9]{0,8}$", names(steps))
  if (any(wrong)) {
    refuse("steps must have their numbers as names, or none; '", names(steps)[wrong][[1L]],
           "' is not one")
  }
  numbers <- as.integer(names(steps))
  if (any(diff(numbers) <= 0L)) refuse("the steps do not increase")
  numbers
}

# A step that starts from these parameters, as far as it does not say itself.
with_start <- function(step, parameters) {
  if (!all_named(parameters)) refuse("parameters must be a named list of arrays")
  if (!all_named(step$start)) refuse("step 1 has start, which must be a named list of arrays")
  step$start <- c(step$start, parameters[setdiff(names(parameters), names(parameters_in(step)))])
  step
}

# What a step starts from, under either kind of name.
parameters_in <- function(step) {
  keyed <- step[startsWith(as.character(names(step)), "start/")]
  names(keyed) <- sub("^start/", "", names(keyed))
  c(step$start, keyed)
}

# list(shapes, steps, networks): the shapes of parameters; for each step its stages, its optimiser
# and the number of its network; the different networks, in JSON.
describe_program <- function(steps, numbers, stages, parameters, optimiser) {
  repeated <- names(parameters)[duplicated(names(parameters))]
  if (length(repeated)) refuse("two parameters are called '", repeated[[1L]], "'")
  shapes <- Map(function(x, name) {
    check_values(x, paste0("parameter '", name, "'"))
    array_shape(x)
  }, parameters, names(parameters))
  names <- names(parameters)
  buffers <- unlist(lapply(steps, function(step) names(step$buffer)))
  described <- Map(function(step, number) {
    list(stages = check_stages(if (is.null(step$stages)) stages else step$stages, names),
         optimiser = describe_optimiser(
           if (is.null(step$optimiser)) optimiser else step$optimiser, names,
           setdiff(names, buffers)))
  }, steps, numbers)
  texts <- vapply(described, function(one) network_json(lapply(one$stages, stage_fields)), "")
  networks <- unique(unname(texts))
  list(shapes = shapes, networks = networks, steps = Map(function(one, text) {
    c(one, network = match(text, networks) - 1)
  }, described, texts))
}

# The stages, whole, if each has a name of its own and takes what is there.
check_stages <- function(stages, parameters) {
  if (is.null(stages)) return(list())
  if (!is.list(stages) || !all(vapply(stages, is.list, NA))) {
    refuse("stages must be a list of stages, each as stage() returns it")
  }
  there <- parameters
  named <- character()
  for (i in seq_along(stages)) {
    one <- complete_stage(stages[[i]], i)
    if (one$name %in% named) refuse("two stages are called '", one$name, "'")
    named <- c(named, one$name)
    absent <- setdiff(c(one$inputs, unlist(one$parameters)), there)
    if (length(absent)) {
      refuse("stage '", one$name, "' takes '", absent[[1L]],
             "', which is neither a parameter nor returned by a stage before it")
    }
    there <- c(there, one$outputs)
    stages[[i]] <- one
  }
  stages
}

complete_stage <- function(given, i) {
  known <- names(formals(stage))
  wrong <- setdiff(names(given), known)
  if (length(wrong)) refuse("stage ", i, " has '", wrong[[1L]], "'; it is made by stage()")
  if (!is_text(given$name)) refuse("stage ", i, " has no name")
  if (!is_text(given$layer)) refuse("stage '", given$name, "' has no layer")
  one <- do.call(stage, given[!vapply(given, is.null, NA)])
  if (!is.character(one$inputs) || !is.character(one$outputs)) {
    refuse("inputs and outputs of stage '", one$name, "' must be names")
  }
  one$parameters <- as.list(one$parameters)
  if (!all_named(one$options)) refuse("options of stage '", one$name, "' must be a named list")
  if (!all_named(one$parameters) || !all(vapply(one$parameters, is_text, NA))) {
    refuse("parameters of stage '", one$name, "' must be names by role, such as ",
           "c(weight = \"", one$name, ".weight\")")
  }
  one$options <- lapply(one$options, plain_option, paste0("stage '", one$name, "'"))
  one
}

# What the trace has of a stage.
stage_fields <- function(one) {
  fields <- list(name = one$name, layer = one$layer, inputs = I(one$inputs), options = one$options,
                 parameters = one$parameters, training = isTRUE(one$training))
  if (!identical(one$outputs, one$name)) fields$outputs <- I(one$outputs)
  fields
}

describe_optimiser <- function(given, parameters, trained) {
  if (is.null(given)) return(NULL)
  if (!is.list(given) || !is_text(given$kind)) {
    refuse("optimiser must be a list with its kind, such as ",
           "list(kind = \"sgd\", settings = list(lr = 0.1))")
  }
  odd <- setdiff(names(given), c("kind", "name", "settings", "groups"))
  if (length(odd)) {
    refuse("optimiser has '", odd[[1L]], "'; it may have kind, name, settings and groups. ",
           "Settings of the optimiser belong into its settings = list()")
  }
  groups <- given$groups
  if (is.null(groups)) groups <- list(list(parameters = trained, settings = given$settings))
  list(name = if (is.null(given$name)) "optimizer" else given$name, kind = given$kind,
       groups = I(lapply(groups, function(group) {
         absent <- setdiff(group$parameters, parameters)
         if (length(absent)) {
           refuse("optimiser has '", absent[[1L]], "', which is not a parameter")
         }
         settings <- as.list(group$settings)
         if (!all_named(settings)) refuse("the optimiser's settings must be a named list")
         list(parameters = I(as.character(group$parameters)),
              settings = lapply(settings, plain_option, "the optimiser"))
       })))
}

# A number, text, TRUE, FALSE or NULL, or an array of these; JSON has no infinite numbers.
plain_option <- function(x, where) {
  if (is.null(x)) return(NULL)
  if (is.list(x)) return(I(lapply(unname(x), plain_option, where)))
  if (!is.numeric(x) && !is.character(x) && !is.logical(x)) {
    refuse(where, " has an option that is neither a number, text, TRUE, FALSE nor a list of these")
  }
  x <- unname(x)
  if (any(is.na(x) & !is.nan(x))) refuse(where, " has an option that is NA")
  array <- length(x) != 1L || inherits(x, "AsIs")
  if (is.numeric(x) && !all(is.finite(x))) {
    x <- lapply(as.vector(x), function(one) {
      if (is.finite(one)) one else if (is.nan(one)) "nan" else if (one > 0) "inf" else "-inf"
    })
    return(if (array) I(x) else x[[1L]])
  }
  if (array) I(as.vector(x)) else as.vector(x)
}

step_kinds <- c("start", "forward", "draw", "gradient", "given", "before", "state", "parameter",
                "buffer", "loss", "untrained")

# list(values, shapes, types) of a step, by their keys in the trace.
record_values <- function(step, said, parameters, where) {
  trained <- unlist(lapply(said$optimiser$groups, function(group) group$parameters))
  values <- keyed_values(step, if (is.null(trained)) names(parameters) else trained, where)
  repeated <- names(values)[duplicated(names(values))]
  if (length(repeated)) refuse(where, " has ", repeated[[1L]], " twice")
  for (key in names(values)) check_values(values[[key]], paste(where, "has", key, "and it"))
  check_names_of_values(names(values), said$stages, names(parameters), where)
  values <- with_indices(values, said$stages)
  masks <- startsWith(names(values), "draw/")
  for (key in names(values)[masks]) {
    if (!all(values[[key]] %in% 0:1)) {
      refuse(where, " has ", key, ", which must be 1 to keep and 0 to drop")
    }
  }
  shapes <- Map(function(x, key) shape_in_trace(x, key, parameters), values, names(values))
  check_shapes(shapes, parameters, where)
  types <- vapply(values, function(x) {
    if (is.logical(x)) "BOOL" else if (is.integer(x)) "I32" else "F64"
  }, "")
  types[masks] <- "U8"
  types[startsWith(names(values), "loss/")] <- "F64"
  list(values = values, shapes = shapes, types = unname(types))
}

# A step's values by KIND/NAME, as in the trace.
keyed_values <- function(step, trained, where) {
  values <- list()
  if (anyDuplicated(names(step))) {
    refuse(where, " has '", names(step)[duplicated(names(step))][[1L]], "' twice")
  }
  for (entry in setdiff(names(step), c("optimiser", "stages"))) {
    x <- step[[entry]]
    if (is.null(x) && entry %in% step_kinds) next                  # all of a step is optional
    kind <- sub("/.*", "", entry)
    if (!kind %in% step_kinds) {
      refuse(where, " has '", entry, "'; it may have ", paste(step_kinds, collapse = ", "))
    }
    if (grepl("/", entry, fixed = TRUE)) x <- stats::setNames(list(x), sub("[^/]*/", "", entry))
    else if (kind == "loss" && !is.list(x)) x <- list(total = x)
    else if (kind == "untrained") x <- of_networks(x, where)
    else if (kind %in% c("state", "before")) x <- states_by_parameter(x, trained, where)
    if (!is.list(x) || !all_named(x)) {
      refuse(where, " has ", kind, ", which must be a named list of arrays")
    }
    if (length(x)) names(x) <- paste0(kind, "/", names(x))
    values <- c(values, x)
  }
  values
}

# Networks that are not trained are written where they have changed.
without_what_stays <- function(recorded) {
  last <- list()
  for (i in seq_along(recorded)) {
    one <- recorded[[i]]
    keys <- grep("^untrained/", names(one$values), value = TRUE)
    stays <- names(one$values) %in% keys[vapply(keys, function(key) {
      identical(one$values[[key]], last[[key]])
    }, NA)]
    last[keys] <- one$values[keys]
    recorded[[i]] <- list(values = one$values[!stays], shapes = one$shapes[!stays],
                          types = one$types[!stays])
  }
  recorded
}

# Arrays of networks that are not trained, as NETWORK/NAME.
of_networks <- function(networks, where) {
  right <- is.list(networks) && all_named(networks) && !any(grepl("/", names(networks))) &&
    all(vapply(networks, function(one) is.list(one) && all_named(one), NA))
  if (!right) {
    refuse(where, " has untrained, which must be a list of networks, such as ",
           "list(teacher = list(fc.weight = w)), without / in their names")
  }
  each <- Map(function(arrays, network) {
    if (length(arrays)) names(arrays) <- paste0(network, "/", names(arrays))
    arrays
  }, networks, names(networks))
  do.call(c, unname(each))
}

# State by name and parameter, as PARAMETER.NAME.
states_by_parameter <- function(states, trained, where) {
  if (!is.list(states) || !all_named(states)) {
    refuse(where, " has a state that is not a list such as ",
           "list(momentum_buffer = list(fc.weight = v))")
  }
  if (!length(states)) return(list())
  each <- Map(function(state, name) {
    if (!is.list(state)) state <- stats::setNames(rep(list(state), length(trained)), trained)
    if (!all_named(state)) refuse(where, " has the state ", name, " without names of parameters")
    if (length(state)) names(state) <- paste0(names(state), ".", name)
    state
  }, states, names(states))
  do.call(c, unname(each))
}

check_values <- function(x, what) {
  if (is.null(x)) refuse(what, " has no values")
  if (is.data.frame(x)) refuse(what, " is a data frame; use as.matrix()")
  if (is.factor(x)) refuse(what, " is a factor; use as.integer()")
  if (!is.numeric(x) && !is.logical(x) || is.object(x) && !inherits(x, "AsIs")) {
    kind <- if (is.object(x)) class(x)[[1L]] else typeof(x)
    refuse(what, " is not an array of real numbers, but ", kind)
  }
  if (!is.double(x) && anyNA(x)) refuse(what, " has NA, which has no place among whole numbers")
}

check_names_of_values <- function(keys, stages, parameters, where) {
  kinds <- sub("/.*", "", keys)
  names <- sub("[^/]*/", "", keys)
  outputs <- unlist(lapply(stages, function(one) one$outputs))
  known <- list(draw = vapply(stages, function(one) one$name, ""), forward = outputs,
                gradient = c(outputs, parameters))
  for (kind in c("start", "given", "parameter", "buffer")) known[[kind]] <- parameters
  for (i in seq_along(keys)) {
    kind <- kinds[[i]]
    if (!kind %in% names(known) || names[[i]] %in% known[[kind]]) next
    if (!length(stages) && kind %in% c("forward", "draw", "gradient")) next
    refuse(where, " has ", keys[[i]], ", but there is no ", switch(kind,
      draw = "stage", forward = "stage that returns a value", gradient = "parameter or value",
      "parameter"), " of that name")
  }
  for (i in which(kinds %in% c("state", "before"))) {
    if (!any(startsWith(names[[i]], paste0(parameters, ".")))) {
      refuse(where, " has ", keys[[i]], ", which belongs to none of the parameters")
    }
  }
}

# In R, whole numbers are mostly doubles: which place of a layer's inputs has indices or classes.
index_takers <- c(embedding = 1L, embedding_bag = 1L, one_hot = 1L, cross_entropy_loss = 2L,
                  nll_loss = 2L, multi_margin_loss = 2L, gather = 2L, index_select = 2L,
                  index = 2L)

with_indices <- function(values, stages) {
  for (one in stages) {
    place <- index_takers[one$layer]
    if (is.na(place) || length(one$inputs) < place) next
    key <- paste0("forward/", one$inputs[[place]])
    x <- values[[key]]
    scores <- values[[paste0("forward/", one$inputs[[1L]])]]
    if (place == 2L && length(dim(x)) > 1L && identical(dim(x), dim(scores))) next
    whole <- is.double(x) && all(is.finite(x)) && all(x == round(x) & abs(x) < 2^31)
    if (whole) storage.mode(values[[key]]) <- "integer"
  }
  values
}

# A single number has no dimensions, unless it belongs to a parameter that is a vector of one.
shape_in_trace <- function(x, key, parameters) {
  if (!is.null(dim(x)) || length(x) != 1L) return(array_shape(x))
  name <- sub("[^/]*/", "", key)
  if (grepl("^(state|before)/", key)) {
    if (endsWith(name, ".step")) return(numeric())
    name <- sub("[.][^.]*$", "", name)
  }
  own <- parameters[[name]]
  if (length(own) && prod(own) == 1) own else numeric()
}

check_shapes <- function(shapes, parameters, where) {
  words <- function(shape) if (length(shape)) paste(shape, collapse = " x ") else "a single number"
  for (key in names(shapes)) {
    kind <- sub("/.*", "", key)
    name <- sub("[^/]*/", "", key)
    if (kind == "loss" && prod(shapes[[key]]) != 1) {
      refuse(where, " has ", key, ", which must be a single number")
    }
    expected <- switch(kind,
      start = , given = , parameter = , buffer = parameters[[name]],
      gradient = if (name %in% names(parameters)) parameters[[name]]
        else shapes[[paste0("forward/", name)]])
    if (is.null(expected) || identical(as.numeric(shapes[[key]]), as.numeric(expected))) next
    refuse(where, " has ", key, " of shape ", words(shapes[[key]]), ", but '", name, "' has shape ",
           words(expected))
  }
}

# Parameters and buffers, as trace.json has them.
describe_arrays <- function(shapes, recorded, steps) {
  keys <- unlist(lapply(recorded, function(one) names(one$values)))
  groups <- unlist(lapply(steps, function(one) one$optimiser$groups), recursive = FALSE)
  trained <- if (length(groups)) unlist(lapply(groups, function(group) group$parameters))
    else names(shapes)
  I(unname(Map(function(shape, name) {
    is_buffer <- paste0("buffer/", name) %in% keys
    list(name = name, shape = I(as.numeric(shape)), kind = if (is_buffer) "buffer" else "parameter",
         trainable = !is_buffer && name %in% trained)
  }, shapes, names(shapes))))
}

write_program_header <- function(folder, fields, about, numbers) {
  steps <- Map(function(one, number) {
    list(step = number, network = one$network, optimiser = one$optimiser)
  }, about$steps, numbers)
  text <- c(vapply(fields, program_json, ""),
            networks = paste0("[", paste(about$networks, collapse = ",\n"), "]"),
            steps = program_json(I(unname(steps))), complete = "true", ended = "\"\"")
  write_program_json(folder, text)
}

# The fields of trace.json, which are JSON already.
write_program_json <- function(folder, text) {
  write_lines(file.path(folder, "trace.json"), c("{", paste0(
    "\"", names(text), "\": ", text, c(rep(",", length(text) - 1L), "")), "}"))
}

network_json <- function(stages) {
  paste0("[", paste(vapply(stages, program_json, ""), collapse = ",\n"), "]")
}

# As to_json(), and lists within I() are arrays.
program_json <- function(x) {
  if (is.list(x) && inherits(x, "AsIs")) {
    return(paste0("[", paste(vapply(x, program_json, ""), collapse = ", "), "]"))
  }
  if (is.list(x)) {
    fields <- sprintf("%s: %s", vapply(names(x), json_text, ""), vapply(x, program_json, ""))
    return(paste0("{", paste(fields, collapse = ", "), "}"))
  }
  to_json(x)
}

# The script that R runs, or "".
script_file <- function() {
  file <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
  if (length(file)) basename(file[[1L]]) else ""
}

r_environment <- function() {
  list(R = paste0(R.version$major, ".", R.version$minor), platform = R.version$platform)
}
