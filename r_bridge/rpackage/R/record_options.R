# Options of a stage: the settings of a module or the arguments of a function, as PyTorch has them.
# Axes, and places along an axis, count from 0 there; classes and indices, which are data, stay as R
# counts them.

axes <- c("dim", "dims", "dim0", "dim1", "dim2", "start_dim", "end_dim", "source", "destination",
          "dims_self", "dims_other", "axis0", "axis1")
counted_places <- list(narrow = "start", narrow_copy = "start", select = "index",
                       select_scatter = "index")
not_options <- c("inplace", "device", "generator", "memory_format", "options", "layout",
                 "pin_memory", "names", "out", "training", "train", "requires_grad", "size_average",
                 "reduce", "non_blocking", "copy", "return_indices")
always_lists <- c("kernel_size", "stride", "padding", "dilation", "output_padding")

# The arguments of the constructor that are attributes of the instance.
module_options <- function(instance) {
  kind <- torch_classes(instance)[[1L]]
  asked <- setdiff(constructor_arguments(instance),
                   c("inplace", "device", "dtype", "...", if (kind != "nn_upsample") "mode"))
  options <- list()
  for (name in asked) {
    value <- get0(name, envir = instance, inherits = FALSE)
    if (name == "bias") value <- has_bias(instance)
    if (name == "add_bias_kv") value <- !is.null(private_of(instance)$parameters_$bias_k)
    if (is.function(value) || is.environment(value) || inherits(value, "torch_tensor")) next
    lists <- startsWith(kind, "nn_conv") && name %in% always_lists
    options[name] <- list(option_value(name, value, lists))
  }
  options
}

# Of the class; where it takes any, those of the class that it is derived from as well.
constructor_arguments <- function(instance) {
  kinds <- torch_classes(instance)
  names <- character()
  for (kind in kinds) {
    given <- names(formals(torch_internal(kind)))
    names <- c(names, given)
    if (!"..." %in% given) break
  }
  if ("nn_layer_norm" %in% kinds) names <- c(names, "bias")
  if ("nn_rnn_base" %in% kinds) names <- c(names, "proj_size")
  grep("^[.]", unique(names), value = TRUE, invert = TRUE)
}

has_bias <- function(instance) {
  if ("nn_rnn_base" %in% instance$.classes) return(isTRUE(instance$bias))
  own <- private_of(instance)$parameters_
  !is.null(own$bias) || !is.null(own$in_proj_bias)
}

# The arguments of a function that are neither tensors, nor among those of `defaults`, nor left out.
function_options <- function(arguments, defaults = list()) {
  options <- list()
  for (name in names(arguments)) {
    value <- arguments[[name]]
    if (inherits(value, "torch_dtype")) value <- dtype_name(value)
    if (!nzchar(name) || name %in% not_options || length(tensors_in(value))) next
    if (is.numeric(value) && isTRUE(all.equal(value, defaults[[name]], tolerance = 0))) next
    if (is.logical(value) && identical(value, defaults[[name]])) next
    if (is.null(value) || (is.list(value) && !length(value))) next
    if (is.environment(value) || is.function(value) || typeof(value) == "externalptr") next
    if (is.list(value) && !all(vapply(value, is.atomic, NA))) next
    options[name] <- list(option_value(name, value))
  }
  options
}

# Places from 0; negative ones count from the end in both languages.
places_from_zero <- function(options, layer) {
  name <- counted_places[[layer]]
  place <- if (!is.null(name)) options[[name]]
  if (is.numeric(place) && length(place) == 1L && place > 0) options[[name]] <- place - 1
  options
}

# A value as JSON has it: a number, text, TRUE, FALSE or NULL, or an array of these.
option_value <- function(name, value, array = FALSE) {
  if (is.null(value)) return(NULL)
  array <- array || is.list(value)
  value <- unname(unlist(value))
  if (name == "reduction" && is.numeric(value)) value <- c("none", "mean", "sum")[value + 1L]
  if (name %in% axes && is.numeric(value)) value <- ifelse(value > 0, value - 1, value)
  if (is.numeric(value) && any(!is.finite(value))) value <- finite_text(value)
  if (array || length(value) != 1L) I(value) else value
}

# JSON has no infinite numbers: they are written as texts.
finite_text <- function(x) {
  if (length(x) == 1L) {
    if (is.nan(x)) return("nan")
    return(if (x > 0) "inf" else "-inf")
  }
  lapply(x, function(one) if (is.finite(one)) one else finite_text(one))
}

dtype_name <- function(dtype) {
  names <- c(Float = "float32", Double = "float64", Half = "float16", BFloat16 = "bfloat16",
             Long = "int64", Int = "int32", Short = "int16", Char = "int8", Byte = "uint8",
             Bool = "bool")
  unname(names[dtype$.type()])
}
