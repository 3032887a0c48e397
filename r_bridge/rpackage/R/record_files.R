# Writes the trace of a model of torch (docs/reference/trace-of-a-program.md); write_program_trace.R has what
# any trace of a program needs.

write_step <- function(r, arrays, stages, returned = character()) {
  folder <- file.path(r$folder, "steps")
  dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  write_tensors(file.path(folder, sprintf("step-%06d.safetensors", r$step)), arrays)
  network <- network_json(stages)
  if (!network %in% r$networks) r$networks <- c(r$networks, network)
  r$steps <- c(r$steps, program_json(list(
    step = r$step, network = match(network, r$networks) - 1L, generator = r$generator,
    optimiser = r$settings, returned = I(returned))))
  write_header(r)
}

# Written after every step, so that what is there can be read even if the program is killed.
write_header <- function(r) {
  missing <- !r$passes && is.finite(r$limit) && length(r$steps) < all_wanted(r)
  ended <- r$ended
  if (missing && !nzchar(ended)) {
    ended <- sprintf("the program made %d of %.0f steps to record", length(r$steps), all_wanted(r))
  }
  fields <- list(
    format = program_format, engine = "r-torch", language = "r", index_base = 1L,
    program = r$program, environment = r$environment)
  text <- vapply(fields, program_json, "")
  array <- function(parts) paste0("[", paste(parts, collapse = ",\n"), "]")
  text <- c(text, parameters = r$about_parameters, networks = array(r$networks),
            steps = array(r$steps), complete = program_json(!nzchar(ended)),
            ended = program_json(ended))
  write_program_json(r$folder, text)
}

recorded_environment <- function() {
  list(R = paste0(R.version$major, ".", R.version$minor),
       torch = as.character(utils::packageVersion("torch")), libtorch = libtorch_version(),
       threads = as.character(torch::torch_get_num_threads()), platform = R.version$platform)
}

libtorch_version <- function() {
  said <- file.path(torch::torch_install_path(), "build-version")
  if (file.exists(said)) return(sub("[+].*", "", readLines(said, n = 1L, warn = FALSE)))
  made_for <- get0("torch_version", asNamespace("torch"), inherits = FALSE)
  if (is.character(made_for)) made_for else "unknown"
}

# The parameters and buffers of a model, in the order of state_dict(), as JSON.
describe_parameters <- function(r) {
  tensors <- r$tensors
  first <- list()
  about <- lapply(names(tensors), function(name) {
    x <- tensors[[name]]
    address <- address_of(x)
    same_as <- first[[address]] %||% ""
    if (!nzchar(same_as)) first[[address]] <<- name
    is_parameter <- name %in% r$parameters
    list(name = name, shape = I(as.numeric(x$shape)),
         kind = if (is_parameter) "parameter" else "buffer",
         trainable = is_parameter && x$requires_grad, same_as = same_as)
  })
  program_json(I(about))
}

safetensors_types <- c(Float = "F32", Double = "F64", Half = "F16", BFloat16 = "F32", Long = "I64",
                       Int = "I32", Short = "I32", Char = "I32", Byte = "U8", Bool = "BOOL")

# Tensors, and single numbers, which are written as F64. R torch hands over the memory as it lies,
# whatever the strides: so contiguous() first.
write_tensors <- function(path, arrays) {
  widths <- c(F64 = 8, F32 = 4, F16 = 2, I64 = 8, I32 = 4, U8 = 1, BOOL = 1)
  given <- vapply(arrays, torch_type, "")
  arrays <- arrays[given %in% names(safetensors_types)]    # a trace has no complex numbers
  given <- given[given %in% names(safetensors_types)]
  arrays <- Map(as_written, arrays, given)
  types <- safetensors_types[given]
  shapes <- lapply(arrays, function(x) if (is.numeric(x)) numeric() else dim(x))
  ends <- cumsum(vapply(shapes, prod, 0) * widths[types])
  shapes <- vapply(shapes, function(shape) paste(sprintf("%.0f", shape), collapse = ", "), "")
  entries <- sprintf("%s: {\"dtype\": \"%s\", \"shape\": [%s], \"data_offsets\": [%.0f, %.0f]}",
                     json_text(names(arrays)), types, shapes, c(0, ends)[seq_along(ends)], ends)
  text <- paste0("{", paste(entries, collapse = ", "), "}")
  text <- paste0(text, strrep(" ", -nchar(text, "bytes") %% 8L))
  total <- 8 + nchar(text, "bytes") + sum(utils::tail(ends, 1L))
  write_file(path, total, function(connection) {
    writeBin(c(nchar(text, "bytes"), 0L), connection, size = 4L, endian = "little")
    writeBin(charToRaw(text), connection)
    for (x in arrays) {
      if (is.numeric(x)) writeBin(as.double(x), connection, endian = "little")
      else write_raw(torch::buffer_from_torch_tensor(x), connection)
    }
  })
}

as_written <- function(x, given) {
  if (is.numeric(x)) return(x)
  if (given == "BFloat16") x <- x$to(dtype = torch::torch_float())
  if (given %in% c("Short", "Char")) x <- x$to(dtype = torch::torch_int())
  if (session$elsewhere) x <- x$cpu()
  x$detach()$contiguous()
}

torch_type <- function(x) if (is.numeric(x)) "Double" else x$dtype$.type()

write_raw <- function(bytes, connection) {
  starts <- if (length(bytes)) seq(1, length(bytes), by = most_bytes) else numeric()
  if (length(starts) == 1L) return(writeBin(bytes, connection))
  for (start in starts) {
    writeBin(bytes[start:min(start + most_bytes - 1, length(bytes))], connection)
  }
}
