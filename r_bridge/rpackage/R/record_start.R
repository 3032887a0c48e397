# The same start as another program: `start` of record().

# The first step of a trace, or an error.
check_trace <- function(folder, name, call) {
  if (!is.character(folder) || length(folder) != 1L || is.na(folder)) {
    abort(c("{.arg {name}} must be the folder of a trace.", "x" = "It is {in_words(folder)}."),
          call)
  }
  path <- file.path(folder, "trace.json")
  if (!file.exists(path)) {
    abort(c(if (dir.exists(folder)) "{.file {folder}} holds no trace: there is no trace.json in it."
            else "There is no folder {.file {folder}}.",
            "i" = "{.arg {name}} takes the folder that another program was recorded to."), call)
  }
  about <- tryCatch(jsonlite::fromJSON(path, simplifyVector = FALSE), error = function(e) NULL)
  if (!identical(as.integer(about$format %||% 0L), program_format) || !length(about$steps)) {
    abort(c("{.file {folder}} is no trace that {.arg {name}} can take.",
            "i" = "It has to be one of format 5, with a step in it."), call)
  }
  list(folder = folder, name = name, about = about,
       steps = vapply(about$steps, function(step) as.integer(step$step), 0L))
}

step_path <- function(folder, step) {
  file.path(folder, "steps", sprintf("step-%06d.safetensors", step))
}

# A map of names, as `pyvae compare` writes it.
check_map <- function(path, call) {
  if (is.character(path) && length(path) == 1L && !is.na(path) && !file.exists(path)) {
    abort(c("{.arg names} must be a CSV file with the columns a and b.",
            "x" = "There is no file {.file {path}}."), call)
  }
  rows <- tryCatch(utils::read.csv(path, colClasses = "character", check.names = FALSE),
                   error = function(e) NULL, warning = function(w) NULL)
  if (is.null(rows) || !all(c("a", "b") %in% names(rows))) {
    abort(c("{.arg names} must be a CSV file with the columns a and b.",
            "x" = "It is {in_words(path)}."), call)
  }
  rows[c("a", "b")]
}

# Rows of a map with our name first: a parameter's, or a module's, which goes for all that is in it.
# A row of neither, as of a function, is read both ways. `there`: the stages that the trace has.
own_first <- function(map, own, there, call) {
  parts <- strsplit(own, ".", fixed = TRUE)
  modules <- unique(unlist(lapply(parts, function(one) {
    vapply(seq_len(length(one) - 1L), function(n) paste(one[seq_len(n)], collapse = "."), "")
  })))
  a <- trimws(map$a)
  b <- trimws(map$b)
  # as `pyvae compare` writes it, what one side alone has, and several names that are one there
  whole <- nzchar(a) & nzchar(b) & !grepl(" + ", paste(a, b, sep = "\n"), fixed = TRUE)
  a <- a[whole]
  b <- b[whole]
  first <- sum(a %in% own) >= sum(b %in% own)
  pairs <- lapply(seq_along(a), function(i) {
    pair <- c(a[[i]], b[[i]])
    for (names in list(own, modules)) {
      ours <- pair %in% names
      if (any(ours)) return(list(if (ours[[1L]] && (first || !ours[[2L]])) pair else rev(pair)))
    }
    if (!any(pair %in% there)) {
      abort(c("{.arg names} has a row for {.val {pair[[1L]]}} and {.val {pair[[2L]]}}.",
              "x" = "The model has neither."), call)
    }
    list(pair, rev(pair))
  })
  pairs <- do.call(c, c(list(list()), pairs))
  data.frame(ours = vapply(pairs, function(pair) pair[[1L]], ""),
             theirs = vapply(pairs, function(pair) pair[[2L]], ""))
}

# The other program's name of one of ours; the same if no row says another.
name_there <- function(name, pairs, known) {
  named <- pairs$theirs[pairs$ours == name]
  within <- pairs[startsWith(rep(name, NROW(pairs)), paste0(pairs$ours, ".")), ]
  within <- within[order(-nchar(within$ours)), ]
  below <- paste0(within$theirs, substring(rep(name, NROW(within)), nchar(within$ours) + 1L))
  found <- c(named, below)
  c(found[found %in% known], named, name)[[1L]]
}

# Of every stage that a trace has.
stages_in <- function(about) {
  unlist(lapply(about$networks, function(network) lapply(network, function(one) one$name)))
}

# What the other program calls tensors of ours of which it has no name, where their order says it: it
# has as many parameters and buffers left, one after the other of the same shape. None otherwise.
in_order <- function(lacking, r, about, left) {
  if (!about$engine %in% c("pytorch", "r-torch")) return(character())  # others' layouts are not known
  listed <- Filter(function(one) one$name %in% left && !grepl(counter, one$name), about$parameters)
  shape <- function(x) if (prod(as.numeric(x)) == 1) numeric() else as.numeric(x)
  pairs <- lapply(c("parameter", "buffer"), function(kind) {
    ours <- lacking[(lacking %in% r$parameters) == (kind == "parameter")]
    theirs <- Filter(function(one) identical(one$kind, kind), listed)
    alike <- identical(lapply(ours, function(name) shape(r$tensors[[name]]$shape)),
                       lapply(theirs, function(one) shape(unlist(one$shape))))
    if (alike) stats::setNames(vapply(theirs, function(one) one$name, ""), ours)
  })
  if (any(vapply(pairs, is.null, NA))) character() else unlist(pairs)
}

most_pairs <- 6L                      # of names that are listed
counter <- "num_batches_tracked$"      # a network by hand has no count of the calls of its batch norm

# Copies the other program's initial values into the model, all or none.
load_start <- function(r, start, call) {
  given <- read_tensors(step_path(start$folder, start$steps[[1L]]),
                        function(keys) startsWith(keys, "start/"), call)
  own <- distinct_names(r$tensors)
  known <- substring(names(given), 7L)
  theirs <- stats::setNames(vapply(own, name_there, "", r$names, known), own)
  own <- own[!(grepl(counter, own) & theirs[own] == own & !own %in% known)]
  lacking <- own[!theirs[own] %in% known]
  ordered <- in_order(lacking, r, start$about, setdiff(known, theirs[setdiff(own, lacking)]))
  theirs[names(ordered)] <- ordered
  values <- lapply(own, function(name) {
    value <- given[[paste0("start/", theirs[[name]])]]
    if (is.null(value)) {
      left <- setdiff(known, theirs[own])
      abort(c("The trace {.file {start$folder}} has no start of {.val {theirs[[name]]}}.",
              "x" = if (length(left)) "What it has, and the model has not: {.val {left}}.",
              "i" = "Say what it is called there with {.arg names}."), call)
    }
    ours <- r$tensors[[name]]
    if (ours$numel() == 1 && value$numel() == 1) return(value$reshape(ours$shape))
    if (!identical(as.integer(ours$shape), as.integer(value$shape))) {
      sizes <- vapply(list(ours, value), function(x) paste(x$shape, collapse = " x "), "")
      abort("{.val {name}} is {sizes[[1L]]} here and {sizes[[2L]]} in {.file {start$folder}}.",
            call)
    }
    value
  })
  torch::with_no_grad(Map(function(name, value) r$tensors[[name]]$copy_(value), own, values))
  if (length(ordered)) {
    pairs <- paste(names(ordered), "=", ordered)
    more <- length(pairs) - most_pairs
    message("pyvae: begins with ", start$folder, " in its order: ",
            paste(utils::head(pairs, most_pairs), collapse = ", "),
            if (more > 0L) paste(" and", more, "more"))
  }
  invisible()
}

torch_dtypes <- c(F64 = "double", F32 = "float", F16 = "float16", I64 = "long", I32 = "int",
                  U8 = "uint8", BOOL = "bool")

# The tensors of a safetensors file whose keys are wanted.
read_tensors <- function(path, wanted, call) {
  damaged <- function(why) abort(c("File {.file {path}} cannot be read.", "x" = "{why}"), call)
  if (!file.exists(path)) damaged("It is not there.")
  connection <- file(path, "rb")
  on.exit(close(connection))
  size <- sum(as.integer(readBin(connection, "raw", 8L)) * 256^(0:7))
  if (!isTRUE(size <= file.size(path) - 8)) damaged("It ends within its header.")
  header <- tryCatch(
    jsonlite::fromJSON(rawToChar(readBin(connection, "raw", size)), simplifyVector = FALSE),
    error = function(e) damaged("Its header is not JSON."))
  header[["__metadata__"]] <- NULL
  header <- header[wanted(names(header))]
  lapply(header, function(about) {
    offsets <- as.numeric(unlist(about$data_offsets))
    seek(connection, 8 + size + offsets[[1L]])
    bytes <- readBin(connection, "raw", offsets[[2L]] - offsets[[1L]])
    if (length(bytes) != offsets[[2L]] - offsets[[1L]]) damaged("It ends before its last number.")
    if (!about$dtype %in% names(torch_dtypes)) damaged("It has a type that torch lacks.")
    shape <- as.integer(unlist(about$shape))
    # the tensor does not own the memory of `bytes`: so a copy
    torch::torch_tensor_from_buffer(bytes, shape, torch_dtypes[[about$dtype]])$clone()
  })
}

