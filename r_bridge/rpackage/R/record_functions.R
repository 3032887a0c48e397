# Functions. Whatever R torch computes, be it nnf_*, torch_*, a method or an operator, ends in one
# of some 4,000 functions cpp_torch_* of its namespace. They are wrapped while a recording is under
# way, and so are the functions that are more than one of them, such as nnf_mse_loss(): a call
# within a call that is recorded is not a stage of its own.

# The names under which PyTorch knows them.
other_names <- c(
  cross_entropy = "cross_entropy_loss", dropout1d = "feature_dropout",
  dropout2d = "feature_dropout", dropout3d = "feature_dropout", subtract = "sub",
  multiply = "mul", divide = "div", true_divide = "div", absolute = "abs", negative = "neg",
  clip = "clamp", concat = "cat", concatenate = "cat", greater = "gt", greater_equal = "ge",
  less = "lt", less_equal = "le", not_equal = "ne", swapaxes = "transpose",
  swapdims = "transpose", moveaxis = "movedim", arccos = "acos", fix = "trunc",
  special_expit = "sigmoid")

# Functions of torch, and methods, that are written by hand around others.
composed_functions <- c(
  "torch_norm", "torch_topk", "torch_split", "torch_where", "torch_narrow", "torch_movedim",
  "torch_tensordot", "torch_multinomial", "torch_one_hot", "torch_nonzero", "torch_polygamma",
  "torch_repeat_interleave", "torch_normal", "torch_sort", "torch_argsort", "torch_argmax",
  "torch_argmin", "torch_max", "torch_min")
composed_methods <- c("topk", "narrow", "max", "min", "argsort", "argmax", "argmin", "sort",
                      "nonzero", "norm", "split", "movedim", "repeat_interleave")

# Functions that make tensors or only look at them. What they return comes from outside.
not_stages <- paste0(
  "^_*(empty|zeros|ones|full|tensor|scalar_tensor|arange|linspace|logspace|eye|from_file|is_.*|",
  "(empty|zeros|ones|full)_like|new_.*|requires_grad|retain_grad|backward|set|resize|resize_as|",
  "result_type|size|stride|rename|refine_names|align_.*|allclose|equal|version|output_nr|",
  "local_scalar_dense|has_compatible_shallow_copy_type|pin_memory|record_stream|to_dense|",
  "coalesce|values|indices|crow_indices|col_indices|.*_out|promote_types|can_cast|",
  "get_device|q_.*|int_repr|sparse_.*|tril_indices|triu_indices|.*_window)_*$")

# Those that return memory as it was: its numbers say nothing.
uninitialised <- "^(empty|empty_like|empty_strided|new_empty|new_empty_strided)$"

# Functions of which PyTorch, being told in C++, knows only the arguments that were given.
as_given <- c("gelu", "linear", "bilinear", "softplus", "softshrink", "log_sigmoid", "prelu",
              "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
              "conv_transpose3d", "conv_tbc", "avg_pool1d", "avg_pool2d", "avg_pool3d", "one_hot",
              "pixel_shuffle", "pdist", "cosine_similarity", "adaptive_avg_pool1d", "hardshrink",
              "celu_", "hardtanh_", "elu_", "leaky_relu_", "selu_", "threshold_")

draws <- c("randn", "rand", "randint", "randperm", "bernoulli", "normal", "multinomial", "uniform",
           "exponential", "log_normal", "poisson", "cauchy", "geometric", "random")

canonical <- function(name) {
  name <- sub("^__([a-z]+)__$", "\\1", name)
  name <- sub("_+$", "", sub("^nnf_|^torch_", "", name))
  if (name %in% names(other_names)) other_names[[name]] else name
}

# What is known of a function from its name: layer, and whether it changes its input.
about_function <- function(name) {
  layer <- canonical(name)
  drawn <- sub("_like$", "", layer)
  list(layer = layer, changes = grepl("[a-z0-9]_$", name), draw = if (drawn %in% draws) drawn)
}

# cpp_torch_method_add__self_Tensor_other_Tensor is add_: what follows are arguments and types.
cpp_name <- function(name, arguments) {
  name <- sub("^cpp_torch_(dispatch_)?(namespace|method)_", "", name)
  if (identical(arguments, "args")) return(name)
  # the earliest place where an argument's name and a type begin
  types <- paste0("_(", paste(arguments, collapse = "|"), ")_(Tensor|Scalar|int64_t|IntArrayRef|",
                  "bool|double|string|Dimname|Device|Scalar|Generator|Storage|Layout|Memory|const|",
                  "c10|std|Optional|at|Stream|Dim|ArrayRef|QScheme)")
  place <- regexpr(types, name)
  if (place > 1L) substr(name, 1L, place - 1L) else name
}

# What is known of a function cpp_torch_*; FALSE if what it computes is no stage.
about_cpp <- function(name, f) {
  arguments <- names(formals(f))
  normal <- startsWith(name, "cpp_namespace_normal")
  plain <- if (normal) "normal" else cpp_name(name, arguments)
  about <- about_function(plain)
  if (grepl(uninitialised, about$layer)) return(list(empty = TRUE))
  if (grepl(not_stages, about$layer)) return(FALSE)
  about$arguments <- arguments
  same <- paste0("torch_", sub("_+$", "", plain))
  about$left_out <- constant_defaults(get0(same, asNamespace("torch")))
  about
}

about_composed <- function(name, f) {
  about <- about_function(name)
  if (!about$layer %in% as_given) about$defaults <- constant_defaults(f)
  about
}

# Methods have `self` and `private` as their first arguments.
about_method <- function(name, f) {
  about <- about_function(name)
  about$method <- TRUE
  about
}

# Puts wrappers into torch. Returns what puts everything back.
wrap_functions <- function() {
  namespace <- asNamespace("torch")
  all <- ls(namespace, all.names = TRUE)
  cpp <- grep("^cpp_torch_(dispatch_)?(namespace|method)_|^cpp_namespace_normal_", all,
              value = TRUE)
  composed <- c(grep("^nnf_", all, value = TRUE), intersect(composed_functions, all))
  methods <- torch_internal("Tensor")$methods
  undo <- list(
    exchange_each(namespace, cpp, about_cpp), exchange_each(namespace, composed, about_composed),
    exchange_each(methods, intersect(composed_methods, ls(methods)), about_method))
  # a user has the functions of the attached package, torch's own code those of the namespace
  if ("package:torch" %in% search()) {
    attached <- as.environment("package:torch")
    undo <- c(undo, exchange_each(attached, intersect(composed, ls(attached)), about_composed))
  }
  undo <- c(undo, wrap_brackets(namespace), wrap_operators(), wrap_conversion())
  function() for (put_back in rev(undo)) put_back()
}

# What as_array() computes on the way to an R array is none of the program's: of whole numbers,
# whether R can hold them.
wrap_conversion <- function() {
  name <- "as_array.torch_tensor"
  namespace <- asNamespace("torch")
  table <- get(".__S3MethodsTable__.", envir = namespace)
  old <- get(name, envir = namespace)
  put <- function(f) {
    exchange(namespace, name, f)
    assign(name, f, envir = table)
  }
  put(function(x) {
    force(x)
    open <- session$open
    session$open <- FALSE
    on.exit(session$open <- open && length(active()) > 0L)
    old(x)
  })
  function() put(old)
}

exchange_each <- function(where, names, about) {
  old <- mget(names, envir = where)
  put <- function(functions) {
    locked <- names[rlang::env_binding_are_locked(where, names)]
    rlang::env_binding_unlock(where, locked)
    list2env(functions, envir = where)
    rlang::env_binding_lock(where, locked)
  }
  put(stats::setNames(lapply(names, function(name) wrapper_of(old[[name]], name, about)), names))
  function() put(old)
}

# What is known of the function is looked up when it is first called.
wrapper_of <- function(old, name, about) {
  force(old)
  known <- NULL
  drops <- startsWith(name, "cpp_torch_namespace_dropout_input")
  function(...) {
    if (session$waits) list(...)         # now: the first call of a network may be among them
    if (!session$open) {
      if (!drops || is.null(session$within)) return(old(...))
      return(see_within(old, ...))
    }
    if (is.null(known)) known <<- about(name, old)
    if (isFALSE(known)) return(old(...))
    if (isTRUE(known$empty)) see_empty(old(...)) else see_function(old, known, ...)
  }
}

# Calls a function and adds it to the recordings that are under way.
see_function <- function(f, about, ...) {
  given <- list(...)          # now: arguments are calls as well, and those are to be seen
  if (!session$open) return(f(...))
  if (!listening()) {
    computed <- note_beside(f, about, given)
    out <- f(...)
    if (computed) keep_computed(out)
    return(out)
  }
  session$open <- FALSE
  on.exit(reopen())
  arguments <- matched(f, about, given)
  beside <- note_beside(f, about, given)
  drawn <- draw_before(about$layer, arguments[["p"]],
                       arguments[["training"]] %||% arguments[["train"]], arguments)
  within <- within_function(about$layer, arguments)
  changes <- about$changes || isTRUE(arguments[["inplace"]])
  if (changes) {
    for (r in active()) guarded(r, before_change(r, arguments, about))
    on.exit(forget_change(), add = TRUE)
  }
  before <- before_drop(arguments[[1L]], drawn, changes)
  out <- f(...)
  for (r in replaying()) {
    name <- function_name(r, about)
    if (!is.null(about$draw)) replay_draw(r, name, about$draw, out)
    if (!is.null(drawn)) {
      drawn$mask <- replay_mask(r, name, drawn)
      out <- dropped(out, before, drawn, changes)
    }
    if (!is.null(within)) out <- replay_within(r, name, within, out)
  }
  for (r in active()) guarded(r, see_stage(r, about, arguments, out, drawn, within, beside))
  out
}

# The arguments of a call by name, and those that were left out if their default is a constant.
matched <- function(f, about, given) {
  if (identical(about$arguments, "args")) {
    given <- given[[1L]]
    return(given[!vapply(given, rlang::is_missing, NA)])
  }
  if (!is.null(about$arguments)) {
    names(given) <- about$arguments[seq_along(given)]
    return(given)
  }
  call <- as.list(match.call(f, as.call(c(list(quote(f)), given))))[-1L]
  if (isTRUE(about$method)) call$private <- NULL
  left_out <- setdiff(names(about$defaults), names(call))
  c(call, about$defaults[left_out])
}

constant_defaults <- function(f) {
  if (!is.function(f)) return(list())
  values <- lapply(as.list(formals(f)), function(default) {
    if (is.call(default) && identical(default[[1L]], quote(c))) default <- default[[2L]]
    if (is.call(default) && identical(default[[1L]], quote(`-`))) default <- -default[[2L]]
    if (is.atomic(default) && !is.null(default)) default
  })
  values[!vapply(values, is.null, NA)]
}

# The path of the module that calls the function, and the function's name.
function_name <- function(r, about) {
  path <- if (length(r$path)) utils::tail(r$path, 1L) else ""
  name <- about$draw %||% about$layer
  if (nzchar(path)) paste0(path, ".", name) else name
}

# Tensors that a function takes besides its inputs.
roles <- c("weight", "bias", "running_mean", "running_var", "pos_weight", "attn_mask",
           "key_padding_mask", "in_proj_weight", "in_proj_bias")
without_roles <- c("lerp", "where", "index_put")

# Adds a function's call to a recording, if it is of the model: called within it, or with what was
# computed from it. What is drawn is noted anyhow: it may go into the model later.
see_stage <- function(r, about, arguments, out, drawn = NULL, inner = NULL, beside = FALSE) {
  seen <- r$seen
  put <- seen$changing$put
  if (!is.null(put)) {
    about <- list(layer = "index_put", changes = TRUE, options = put$options)
    arguments <- list(self = put$whole, value = put$value)
    out <- put$whole
    seen$changing <- list(address = address_of(put$whole), source = put$source)
  }
  arguments <- with_numbers(arguments)
  returned <- tensors_in(out)
  given <- lapply(arguments, tensors_in)
  inputs <- do.call(c, unname(given))
  if (!length(returned)) return(invisible())
  within <- length(r$path) > 0L
  inside <- within || any(vapply(inputs, function(x) of_the_model(seen, x), NA))
  if (!inside && is.null(about$draw)) {
    if (beside) keep_computed(out)
    return(invisible())
  }
  changes <- about$changes || isTRUE(arguments[["inplace"]])
  same <- length(inputs) && identical(address_of(inputs[[1L]]), address_of(returned[[1L]]))
  if (same && !changes) return(invisible())                 # x$to(device = x$device)
  call <- list(name = function_name(r, about), layer = about$layer, inside = inside,
               within = within)
  if (!is.null(about$draw)) {
    call$layer <- "draw"
    call$inside <- within
    call$options <- list(distribution = about$draw)
    if (!changes) call$inputs <- unlist(lapply(inputs, function(x) known_source(seen, x)))
    return(add_stage(seen, call, returned))
  }
  taken <- vapply(arguments, is_tensor, NA) & names(arguments) %in% roles
  if (about$layer %in% without_roles) taken[] <- FALSE
  call$roles <- lapply(arguments[taken], function(x) source_of(seen, x))
  call$inputs <- vapply(do.call(c, unname(given[!taken])), function(x) source_of(seen, x), "")
  call$options <- about$options %||% c(indexed_by(about$layer, arguments), number_last(
    places_from_zero(function_options(arguments, about$left_out), about$layer), about$layer))
  call$training <- !isFALSE(arguments[["training"]] %||% arguments[["train"]])
  call$mask <- mask_of(drawn, out) %||% mask_within(inner, out)
  add_stage(seen, call, returned, changes)
}
